"""LARS, learning-rate rules for groups of variables, and a momentum schedule."""

from keras_ssl.optimizers.lars import LARS
from keras_ssl.optimizers.layer_wise_decay import layer_wise_decay
from keras_ssl.optimizers.momentum_schedule import cosine_momentum
from keras_ssl.optimizers.parameter_groups import NO_WEIGHT_DECAY
from keras_ssl.optimizers.scaling_rules import linear_scaling, square_root_scaling

__all__ = [
    "LARS",
    "NO_WEIGHT_DECAY",
    "cosine_momentum",
    "layer_wise_decay",
    "linear_scaling",
    "square_root_scaling",
]
