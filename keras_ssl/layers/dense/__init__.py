"""Relatives of the dense layer."""

from keras_ssl.layers.dense.bilinear import Bilinear
from keras_ssl.layers.dense.hyper_dense import HyperDense
from keras_ssl.layers.dense.maxout import Maxout
from keras_ssl.layers.dense.weight_tied import WeightTied

__all__ = ["Bilinear", "HyperDense", "Maxout", "WeightTied"]
