"""Callbacks for `fit`."""

from keras_ssl.callbacks.stop_on_nan import StopOnNaN

__all__ = ["StopOnNaN"]
