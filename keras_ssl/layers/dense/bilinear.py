"""Multiplicative interaction of two inputs."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.dense._checks import check_last_axis


@keras.saving.register_keras_serializable(package="keras_ssl")
class Bilinear(keras.layers.Layer):
    """Bilinear map of two inputs, the multiplicative interaction of all their features.

        y_k = activation(x^T W_k z + b_k)

    It is PyTorch's `Bilinear`. With one of the inputs fixed, it is a dense layer of the other.

    Args:
        units: number of outputs k.
        activation: activation function of the output.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of the kernel `(units, dim of x, dim of z)`. The default
            gives outputs a variance of 1 if both inputs have one.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        first: x.
        second: z, with the axes of x but for the last.

    Input shape:
        `(batch, ..., dim of x)` and `(batch, ..., dim of z)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        TypeError: if `units` is not an integer.
        ValueError: if `units` is below 1, a last axis is unknown, or the other axes differ.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layer = layers.Bilinear(1, kernel_initializer="ones")
    >>> x, z = np.array([[1, 2]], "float32"), np.array([[1, 0, 4]], "float32")
    >>> layer(x, z).numpy().tolist()  # (1 + 2) * (1 + 0 + 4)
    [[15.0]]

    Reference:
        - [Jayakumar et al., Multiplicative Interactions and Where to Find
          Them](https://openreview.net/forum?id=rylnK6VtDH)
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = checks.integer("units", units, minimum=1)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, first_shape: tuple, second_shape: tuple) -> None:
        dims = check_last_axis(first_shape, "first"), check_last_axis(second_shape, "second")
        rows = zip(first_shape[:-1], second_shape[:-1], strict=False)
        if len(first_shape) != len(second_shape) or any(
            a != b and None not in (a, b) for a, b in rows
        ):
            raise ValueError(
                "`first` and `second` must have the same axes but for the last. Received: "
                f"first.shape={tuple(first_shape)}, second.shape={tuple(second_shape)}"
            )
        initializer = self.kernel_initializer
        if initializer is None:
            initializer = keras.initializers.RandomNormal(stddev=(dims[0] * dims[1]) ** -0.5)
        self.kernel = self.add_weight(
            name="kernel", shape=(self.units, *dims), initializer=initializer
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(self, first: Any, second: Any) -> Any:
        y = ops.einsum("...i,kij,...j->...k", first, self.kernel, second)
        return self.activation(y if self.bias is None else y + self.bias)

    def compute_output_shape(self, first_shape: tuple, second_shape: tuple) -> tuple:
        return (*first_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
