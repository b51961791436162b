"""Recurrent cells, the layer that runs them, and an encoder of sequences."""

from keras_ssl.layers.recurrent.bidirectional_encoder import BidirectionalEncoder
from keras_ssl.layers.recurrent.cells import GRUCell, LSTMCell, MinimalGRUCell, RNNCell
from keras_ssl.layers.recurrent.recurrent_layer import RecurrentLayer

__all__ = [
    "BidirectionalEncoder",
    "GRUCell",
    "LSTMCell",
    "MinimalGRUCell",
    "RNNCell",
    "RecurrentLayer",
]
