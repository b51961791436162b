"""The time of a diffusion as features: sines and cosines, and an MLP."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class TimeEmbedding(keras.layers.Layer):
    r"""Times as features: cosines and sines of them, and an MLP with one hidden layer.

    With `n = frequencies / 2`, the time t becomes

        [cos(t w_0), ..., cos(t w_{n-1}), sin(t w_0), ..., sin(t w_{n-1})],  w_i = max_period^(-i/n)

    and then `Dense(width)(silu(Dense(width)(...)))`.

    Args:
        width: number of features.
        frequencies: number of cosines and sines, an even number.
        max_period: the longest period of the cosines, divided by 2 pi.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        time: float32 or integer times, such as 0 to 1000 of 1000 time steps. They may be
            fractional.

    Input shape:
        `(batch,)`.

    Output shape:
        `(batch, width)`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive, or `frequencies` is odd.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.TimeEmbedding(width=64, frequencies=32)(np.array([0.0, 499.5, 999.0])).shape
    TensorShape([3, 64])

    Reference:
        - [Ho et al., Denoising Diffusion Probabilistic Models](https://arxiv.org/abs/2006.11239)
    """

    def __init__(
        self, width: int, frequencies: int = 256, max_period: float = 10000.0, **kwargs: Any
    ):
        # a time of 999 in half precision would be rounded to a multiple of 0.5
        super().__init__(autocast=False, **kwargs)
        self.width = checks.integer("width", width, minimum=1)
        self.frequencies = checks.integer("frequencies", frequencies, minimum=2)
        if self.frequencies % 2:
            raise ValueError(
                "`frequencies` must be even, since half of them are cosines and half are sines. "
                f"Received: frequencies={frequencies}"
            )
        self.max_period = checks.positive("max_period", max_period)
        like = {"dtype": self.dtype_policy}
        self.hidden = keras.layers.Dense(self.width, activation="silu", name="hidden", **like)
        self.outputs = keras.layers.Dense(self.width, name="outputs", **like)

    def build(self, input_shape: tuple) -> None:
        self.hidden.build((*input_shape, self.frequencies))
        self.outputs.build((*input_shape, self.width))

    def call(self, time: Any) -> Any:
        half = self.frequencies // 2
        exponents = ops.arange(half, dtype="float32") * (-math.log(self.max_period) / half)
        angles = ops.cast(time, "float32")[..., None] * ops.exp(exponents)
        waves = ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)
        return self.outputs(self.hidden(waves))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape, self.width)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "width": self.width,
            "frequencies": self.frequencies,
            "max_period": self.max_period,
        }
