"""The small MLPs within graph layers that are given by numbers of features."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy


class Perceptron(keras.layers.Layer):
    """Dense layers, with dropout before the hidden ones.

    Args:
        hidden: list of the numbers of features of the hidden layers, or `None` for no such layer.
        channels: number of output features.
        activation: activation function of the hidden layers.
        like: layer whose initializers, regularizers, constraints and `use_bias` the dense layers
            take over.
        output_activation: activation function of the output.
        dropout_rate: dropout rate.
        seed: integer seed of the dropout.
    """

    def __init__(
        self,
        hidden: Any,
        channels: int,
        activation: Any,
        like: keras.layers.Layer,
        output_activation: Any = None,
        dropout_rate: float = 0.0,
        seed: int | None = None,
    ):
        super().__init__(name="mlp", dtype=like.dtype_policy)
        self.supports_masking = True
        self.hidden = [checks.integer("mlp_hidden", one, minimum=1) for one in hidden or []]
        self.activation = keras.activations.get(activation)
        activations = [*(self.activation for _ in self.hidden), output_activation]
        self.dense_layers = [
            keras.layers.Dense(
                width,
                function,
                use_bias=like.use_bias,
                kernel_initializer=initializer_copy(like.kernel_initializer, number + 1),
                bias_initializer=like.bias_initializer,
                kernel_regularizer=like.kernel_regularizer,
                bias_regularizer=like.bias_regularizer,
                kernel_constraint=like.kernel_constraint,
                bias_constraint=like.bias_constraint,
                dtype=self.dtype_policy,
                name=f"dense_{number}",
            )
            for number, (width, function) in enumerate(
                zip([*self.hidden, channels], activations, strict=True)
            )
        ]
        self.dropouts = [
            keras.layers.Dropout(
                dropout_rate,
                seed=None if seed is None else seed + number,
                dtype=self.dtype_policy,
                name=f"dropout_{number}",
            )
            for number, _ in enumerate(self.hidden)
        ]

    def build(self, input_shape: Any) -> None:
        for layer in self.dense_layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        for dropout, layer in zip(self.dropouts, self.dense_layers, strict=False):
            x = layer(dropout(x, training=training))
        return self.dense_layers[-1](x)
