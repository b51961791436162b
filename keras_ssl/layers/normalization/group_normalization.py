"""Group normalization of feature maps with an activation and a modulation by other features."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers._compiled import is_worth_compiling
from keras_ssl.layers.normalization._compiled_group_normalization import (
    compiled_group_normalization,
)
from keras_ssl.ops import at_least_float32


@keras.saving.register_keras_serializable(package="keras_ssl")
class GroupNormalization(keras.layers.GroupNormalization):
    r"""Group normalization with an activation, and with scale and shift given by other features.

    For each example, the channels are divided into groups. With mean m and variance v over all
    positions and channels of a group,

        y = activation((gamma * (x - m) / sqrt(v + epsilon) + beta) * (1 + scale) + shift)

    `scale` and `shift` hold one number per example and channel, by which a diffusion model tells
    its network the time; without them this is `activation(GroupNormalization(x))` of Keras.

    Args:
        groups: number of groups, a divisor of the number of channels, or -1 for groups of one
            channel (instance normalization).
        epsilon: small number added to variances. The default is that of PyTorch.
        activation: activation function of the output, or `None`.
        **kwargs: other arguments of `keras.layers.GroupNormalization`. `axis` must be the last.

    Call arguments:
        inputs: feature maps.
        scale: tensor `(batch, channels)`, or `None`.
        shift: tensor `(batch, channels)`, or `None`.
        training: whether this is a training step.

    Input shape:
        `(batch, ..., channels)`.

    Output shape:
        That of the input.

    Raises:
        ValueError: if `axis` is not the last one, or `groups` does not divide the channels.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> norm = layers.GroupNormalization(groups=4, activation="silu")
    >>> norm(np.ones((2, 8, 8, 16), "float32"), shift=np.ones((2, 16), "float32")).shape
    TensorShape([2, 8, 8, 16])

    Reference:
        - [Wu and He, Group Normalization](https://arxiv.org/abs/1803.08494)
        - [Dhariwal and Nichol, Diffusion Models Beat GANs](https://arxiv.org/abs/2105.05233),
          which calls the modulation adaptive group normalization
    """

    def __init__(
        self, groups: int = 32, epsilon: float = 1e-5, activation: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(groups=groups, epsilon=epsilon, **kwargs)
        if self.axis != -1:
            raise ValueError(
                "`axis` must be -1: channels come last. Use `keras.layers.GroupNormalization` for "
                f"another axis. Received: axis={self.axis}"
            )
        self.activation = keras.activations.get(activation)

    def build(
        self,
        inputs_shape: tuple,
        scale_shape: tuple | None = None,
        shift_shape: tuple | None = None,
    ) -> None:
        super().build(inputs_shape)

    def call(
        self, inputs: Any, scale: Any = None, shift: Any = None, training: bool | None = None
    ) -> Any:
        if is_worth_compiling(inputs, training, rank=4):
            return self._compiled(inputs, scale, shift)
        x = at_least_float32(inputs)
        dynamic, channels = ops.shape(x), x.shape[-1]
        grouped = ops.reshape(x, (dynamic[0], -1, self.groups, channels // self.groups))
        mean = ops.mean(grouped, axis=(1, 3), keepdims=True)
        grouped = grouped - mean
        variance = ops.mean(ops.square(grouped), axis=(1, 3), keepdims=True)
        factor = ops.rsqrt(variance + self.epsilon)
        gamma, beta = self._affine(scale, shift, x.dtype)
        columns = (-1, 1, self.groups, channels // self.groups)
        if gamma is not None:
            factor = factor * ops.reshape(gamma, columns)
        y = grouped * factor
        if beta is not None:
            y = y + ops.reshape(beta, columns)
        y = ops.reshape(self.activation(y), dynamic)
        return ops.cast(y, self.compute_dtype)

    def _compiled(self, inputs: Any, scale: Any, shift: Any) -> Any:
        """Return the same, in a training step on CPU, in half the time."""
        gamma, beta = self._affine(scale, shift, "float32")
        gamma = ops.ones((1, inputs.shape[-1])) if gamma is None else gamma
        beta = ops.zeros_like(gamma) if beta is None else beta
        with_silu = self.activation is keras.activations.silu
        outputs = compiled_group_normalization(
            inputs, gamma, beta, self.groups, self.epsilon, with_silu
        )
        return ops.cast(outputs if with_silu else self.activation(outputs), self.compute_dtype)

    def _affine(self, scale: Any, shift: Any, dtype: Any) -> tuple[Any, Any]:
        """Return what normalized values are multiplied by and what is added, `(batch or 1, c)`."""
        gamma = None if self.gamma is None else ops.cast(self.gamma, dtype)[None]
        beta = None if self.beta is None else ops.cast(self.beta, dtype)[None]
        if scale is not None:
            more = 1.0 + ops.cast(scale, dtype)
            gamma = more if gamma is None else gamma * more
            beta = None if beta is None else beta * more
        if shift is not None:
            shift = ops.cast(shift, dtype)
            beta = shift if beta is None else beta + shift
        return gamma, beta

    def compute_output_shape(
        self,
        inputs_shape: tuple,
        scale_shape: tuple | None = None,
        shift_shape: tuple | None = None,
    ) -> tuple:
        return tuple(inputs_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
        }
