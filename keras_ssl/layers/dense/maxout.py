"""The largest of several linear maps."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.dense._checks import check_last_axis


@keras.saving.register_keras_serializable(package="keras_ssl")
class Maxout(keras.layers.Layer):
    """Dense layer whose units are each the largest of several linear maps.

        y_j = max_k (x · w_jk + b_jk)

    A unit is a convex function of its input that is learned, such as a rectifier or a square.

    Args:
        units: number of units.
        pieces: number of linear maps of each unit, at least 2.
        use_bias: whether to add biases.
        kernel_initializer: initializer of the kernel `(dim, units, pieces)`, whose scale is that of
            a dense layer of `units` for each piece.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: features.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        TypeError: if `units` or `pieces` is not an integer.
        ValueError: if `units` is below 1, `pieces` below 2, or the last axis is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.Maxout(8, pieces=3)(np.ones((2, 5, 4), "float32")).shape
    TensorShape([2, 5, 8])

    Reference:
        - [Goodfellow et al., Maxout Networks](https://arxiv.org/abs/1302.4389)
    """

    def __init__(
        self,
        units: int,
        pieces: int = 2,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = checks.integer("units", units, minimum=1)
        self.pieces = checks.integer("pieces", pieces, minimum=2)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple) -> None:
        dim = check_last_axis(input_shape)

        def initialize(shape: tuple, dtype: Any = None) -> Any:
            copies = [initializer_copy(self.kernel_initializer, n + 1) for n in range(self.pieces)]
            return ops.stack([one((dim, self.units), dtype) for one in copies], axis=-1)

        shape = (self.units, self.pieces)
        self.kernel = self.add_weight(name="kernel", shape=(dim, *shape), initializer=initialize)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=shape, initializer="zeros")

    def call(self, inputs: Any) -> Any:
        y = ops.tensordot(inputs, self.kernel, axes=1)
        return ops.max(y if self.bias is None else y + self.bias, axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "pieces": self.pieces,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
