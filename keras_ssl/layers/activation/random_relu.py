"""Rectifier with random slopes of negative inputs."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.distribute import draw_per_example


@keras.saving.register_keras_serializable(package="keras_ssl")
class RReLU(keras.layers.Layer):
    """Rectifier whose slope for negative inputs is random in training, and its mean otherwise.

        y = x  if x >= 0,    a x  otherwise

    In training each entry has an a of its own, drawn evenly between `lower` and `upper`; otherwise
    a = (lower + upper) / 2. It is PyTorch's `RReLU`. Replicas of a `tf.distribute` strategy draw
    what one would.

    Args:
        lower: least slope.
        upper: largest slope, at least `lower`.
        seed: integer seed.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tensor of shape `(batch, ...)`.
        training: whether slopes are random.

    Output shape:
        That of the input.

    Raises:
        TypeError: if a slope is not a number.
        ValueError: if `lower` is above `upper`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layer, x = layers.RReLU(0.25, 0.75, seed=0), np.array([[-4, 2]], "float32")
    >>> layer(x).numpy().tolist()
    [[-2.0, 2.0]]
    >>> -3.0 <= float(layer(x, training=True)[0, 0]) <= -1.0
    True

    Reference:
        - [Xu et al., Empirical Evaluation of Rectified Activations in Convolutional
          Network](https://arxiv.org/abs/1505.00853)
    """

    def __init__(
        self, lower: float = 1 / 8, upper: float = 1 / 3, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.lower, self.upper = checks.interval("(lower, upper)", (lower, upper))
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple) -> None:
        """Nothing to create: the layer has no weights."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if training:
            shape = ops.shape(inputs)
            slopes = draw_per_example(
                lambda rows: keras.random.uniform(
                    (rows, *shape[1:]),
                    self.lower,
                    self.upper,
                    dtype="float32",
                    seed=self.seed_generator,
                ),
                shape[0],
            )
            slopes = ops.cast(slopes, inputs.dtype)
        else:
            slopes = 0.5 * (self.lower + self.upper)
        return ops.where(inputs >= 0, inputs, slopes * inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "lower": self.lower,
            "upper": self.upper,
            "seed": self.seed,
        }
