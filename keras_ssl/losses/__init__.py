"""Losses of self-supervised methods, each a `keras.losses.Loss` and usable on its own."""

from keras_ssl.losses.nt_xent import NTXent, nt_xent

__all__ = ["NTXent", "nt_xent"]
