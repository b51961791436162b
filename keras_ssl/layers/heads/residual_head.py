"""Heads with residual connections."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.transformer.feed_forward import FeedForward


@keras.saving.register_keras_serializable(package="keras_ssl")
class ResidualHead(keras.layers.Layer):
    """MLP with a linear shortcut, the projection head of InfoGraph.

        z = MLP(x) + A x + b

    where every dense layer of the MLP, also the last one, is followed by the activation, as in the
    authors' code. The head acts on the last axis of inputs of any rank.

    Args:
        units: width of all layers and of the output. `None` means the width of the input.
        depth: number of dense layers of the MLP.
        activation: activation of these layers.
        kernel_initializer: initializer of all kernels. If it has a seed, the n-th kernel uses the
            seed plus n - 1.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor of features.

    Input shape:
        `(..., features)`.

    Output shape:
        `(..., units)`.

    Raises:
        TypeError: if `units` or `depth` is not an integer.
        ValueError: if one is below 1, or the number of features is unknown.

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
        # here and not in `build`, since each copy may draw a seed
        self._initializers = [
            initializer_copy(self.kernel_initializer, number + 1)
            for number in range(self.depth + 1)
        ]

    def build(self, input_shape: Any) -> None:
        if input_shape[-1] is None:
            raise ValueError(
                f"`inputs` must have a known last axis. Received: shape {tuple(input_shape)}"
            )
        output_shape = self.compute_output_shape(input_shape)
        names = [f"dense_{number}" for number in range(1, self.depth + 1)]
        *self.dense, self.shortcut = (
            keras.layers.Dense(
                output_shape[-1],
                None if name == "shortcut" else self.activation,
                kernel_initializer=initializer,
                dtype=self.dtype_policy,
                name=name,
            )
            for name, initializer in zip([*names, "shortcut"], self._initializers, strict=True)
        )
        for number, layer in enumerate(self.dense):
            layer.build(output_shape if number else input_shape)
        self.shortcut.build(input_shape)

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


@keras.saving.register_keras_serializable(package="keras_ssl")
class ResidualMLPHead(keras.layers.Layer):
    """Residual perceptrons, each of a token by itself, the head that AIM predicts pixels with.

    A linear map to `width` is followed by `depth` times

        x ← x + W_2 gelu(W_1 LayerNorm(x))

    and a last layer normalisation.

    Args:
        width: number of features.
        depth: number of perceptrons.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.

    Input shape:
        `(batch, tokens, features)`.

    Output shape:
        `(batch, tokens, width)`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.ResidualMLPHead(width=32, depth=2)(np.ones((2, 10, 16), "float32")).shape
    TensorShape([2, 10, 32])

    Reference:
        - [El-Nouby et al., Scalable Pre-training of Large Autoregressive Image
          Models](https://arxiv.org/abs/2401.08541)
    """

    def __init__(self, width: int = 2048, depth: int = 12, **kwargs: Any):
        super().__init__(**kwargs)
        self.width = checks.integer("width", width, minimum=1)
        self.depth = checks.integer("depth", depth, minimum=1)
        like = {"dtype": self.dtype_policy}
        self.enter = keras.layers.Dense(width, name="enter", **like)
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-6, **like) for _ in range(depth + 1)
        ]
        self.perceptrons = [FeedForward(width, **like) for _ in range(depth)]

    def build(self, input_shape: tuple) -> None:
        self.enter.build(input_shape)
        for layer in (*self.norms, *self.perceptrons):
            layer.build((*input_shape[:-1], self.width))

    def call(self, inputs: Any) -> Any:
        x = self.enter(inputs)
        for norm, perceptron in zip(self.norms[:-1], self.perceptrons, strict=True):
            x = x + perceptron(norm(x))
        return self.norms[-1](x)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.width)

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "depth": self.depth}
