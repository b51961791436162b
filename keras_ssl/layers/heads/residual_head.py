"""A perceptron beside a linear map: the projection heads of InfoGraph."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy


@keras.saving.register_keras_serializable(package="keras_ssl")
class ResidualHead(keras.layers.Layer):
    """A multi-layer perceptron, and a linear map beside it.

        z = MLP(x) + A x + b

    where each dense layer of the perceptron, the last one too, is followed by the activation. It
    is the head of InfoGraph's nodes and graphs, as the authors' code has it.

    Args:
        units: width of all layers and of the output; `None` for that of the input.
        depth: number of dense layers of the perceptron.
        activation: activation of these.
        kernel_initializer: initializer of all kernels; of one with a seed, the n-th adds n - 1
            to it.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor of features.

    Input shape:
        `(..., features)`.

    Output shape:
        `(..., units)`.

    Raises:
        TypeError: if `units` or `depth` is no integer.
        ValueError: if one is below 1.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import ResidualHead
    >>> ResidualHead(units=8)(np.ones((4, 16))).shape
    TensorShape([4, 8])

    Reference:
        - [Sun et al., InfoGraph](https://arxiv.org/abs/1908.01000)
    """

    def __init__(
        self,
        units: int | None = None,
        depth: int = 3,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = checks.integer("units", units, minimum=1, optional=True)
        self.depth = checks.integer("depth", depth, minimum=1)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        # copied here, since each copy draws a seed where none is given
        self._initializers = [
            initializer_copy(self.kernel_initializer, number + 1)
            for number in range(self.depth + 1)
        ]

    def build(self, input_shape: Any) -> None:
        """Make the dense layers."""
        if input_shape[-1] is None:
            raise ValueError(
                f"The number of features must be fixed. Received: shape {tuple(input_shape)}"
            )
        units = self.units or input_shape[-1]
        hidden = (*input_shape[:-1], units)
        *of_dense, of_shortcut = self._initializers
        self.dense = [
            self._dense(f"dense_{number}", units, initializer, self.activation)
            for number, initializer in enumerate(of_dense, start=1)
        ]
        self.shortcut = self._dense("shortcut", units, of_shortcut)
        for number, layer in enumerate(self.dense):
            layer.build(hidden if number else input_shape)
        self.shortcut.build(input_shape)

    def _dense(
        self, name: str, units: int, initializer: Any, activation: Any = None
    ) -> keras.layers.Layer:
        return keras.layers.Dense(
            units,
            activation,
            kernel_initializer=initializer,
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs: Any) -> Any:
        z = inputs
        for layer in self.dense:
            z = layer(z)
        return z + self.shortcut(inputs)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units or input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "depth": self.depth,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
