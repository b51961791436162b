"""Activations that Keras lacks."""

from keras_ssl.layers.activation.functions import HardTanh, Softmin, Softplus
from keras_ssl.layers.activation.k_sparse import KSparse
from keras_ssl.layers.activation.random_relu import RReLU
from keras_ssl.layers.activation.swish import Swish

__all__ = ["HardTanh", "KSparse", "RReLU", "Softmin", "Softplus", "Swish"]
