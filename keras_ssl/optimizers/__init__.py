"""LARS, learning-rate scaling rules and a momentum schedule, beside `keras.optimizers`."""

from keras_ssl.optimizers.lars import LARS
from keras_ssl.optimizers.momentum_schedule import cosine_momentum
from keras_ssl.optimizers.scaling_rules import linear_scaling, square_root_scaling

__all__ = ["LARS", "cosine_momentum", "linear_scaling", "square_root_scaling"]
