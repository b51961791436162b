"""Swish with a learned sharpness."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class Swish(keras.layers.Layer):
    """Swish with a trainable β.

        y = x σ(β x)

    With β = 0 it is x / 2, and it approaches the rectifier with growing β. With β fixed to 1 it is
    `keras.activations.silu`.

    Args:
        beta: β at the start.
        per_feature: whether each feature (last axis) has a β of its own, or all share one.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`. `trainable=False`
            keeps β as it is.

    Call arguments:
        inputs: tensor of shape `(batch, ...)`.

    Output shape:
        That of the input.

    Raises:
        TypeError: if `beta` is not a number.
        ValueError: if each feature has a β and the last axis is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layer = layers.Swish(beta=0.0)
    >>> layer(np.array([[-2, 4]], "float32")).numpy().tolist()
    [[-1.0, 2.0]]
    >>> layer.count_params()
    1

    Reference:
        - [Ramachandran et al., Searching for Activation
          Functions](https://arxiv.org/abs/1710.05941)
    """

    def __init__(self, beta: float = 1.0, per_feature: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.initial_beta = checks.number("beta", beta)
        self.per_feature = bool(per_feature)

    def build(self, input_shape: tuple) -> None:
        if self.per_feature and input_shape[-1] is None:
            raise ValueError(
                "With `per_feature=True` the last axis must be known. "
                f"Received: inputs of shape {tuple(input_shape)}"
            )
        self.beta = self.add_weight(
            name="beta",
            shape=(input_shape[-1],) if self.per_feature else (),
            initializer=keras.initializers.Constant(self.initial_beta),
        )

    def call(self, inputs: Any) -> Any:
        return inputs * ops.sigmoid(self.beta * inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "beta": self.initial_beta,
            "per_feature": self.per_feature,
        }
