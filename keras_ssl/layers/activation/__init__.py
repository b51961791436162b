"""Activations that Keras lacks."""

from keras_ssl.layers.activation.k_sparse import KSparse

__all__ = ["KSparse"]
