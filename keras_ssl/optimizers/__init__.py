"""What `keras.optimizers` lacks; schedules are Keras' own."""

from keras_ssl.optimizers.lars import LARS
from keras_ssl.optimizers.momentum_schedule import cosine_momentum
from keras_ssl.optimizers.scaling_rules import linear_scaling, square_root_scaling

__all__ = ["LARS", "cosine_momentum", "linear_scaling", "square_root_scaling"]
