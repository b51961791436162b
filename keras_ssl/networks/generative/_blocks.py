"""Blocks of convolutional networks that denoise, encode and decode."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers import GroupNormalization, MultiHeadAttention
from keras_ssl.layers.transformer._recompute import recompute


def common_divisor(name: str, value: int | None, widths: tuple[int, ...]) -> int:
    """Check a divisor of some widths, by default the largest power of 2 up to 32."""
    value = checks.integer(name, value, minimum=1, optional=True)
    if value is None:
        return math.gcd(32, *widths)
    if any(width % value for width in widths):
        raise ValueError(
            f"`{name}` must divide the channels {list(widths)}. Received: {name}={value}"
        )
    return value


def convolution(filters: int, kernel_size: int = 3, zeros: bool = False, **kwargs: Any) -> Any:
    """Return a convolution that keeps the size; with `zeros=True` it starts as zero."""
    initializer = "zeros" if zeros else "glorot_uniform"
    return keras.layers.Conv2D(
        filters, kernel_size, padding="same", kernel_initializer=initializer, **kwargs
    )


class _Block(keras.layers.Layer):
    """What may be computed again in the backward pass instead of being kept."""

    def __init__(self, groups: int, epsilon: float, remat: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.groups, self.epsilon, self.remat = groups, epsilon, remat

    def make_norm(self, activation: str | None, name: str) -> GroupNormalization:
        """Return a group normalization."""
        return GroupNormalization(
            self.groups, self.epsilon, activation, dtype=self.dtype_policy, name=name
        )

    def run(self, function: Callable, tensors: list[Any], training: bool | None) -> Any:
        """Return `function(*tensors)`, in training without keeping what lies between."""
        if self.remat and training:
            return recompute(self, lambda *tensors: [function(*tensors)], tensors)[0]
        return function(*tensors)

    def get_config(self) -> dict:
        own = {"groups": self.groups, "epsilon": self.epsilon, "remat": self.remat}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_ssl")
class ResidualBlock(_Block):
    """Two convolutions, each behind group normalization and SiLU, and a shortcut.

    The time, if there is one, is added between the convolutions, or scales and shifts what the
    second normalization returns. The second convolution starts as zero.

    Args:
        filters: number of output channels.
        groups: number of groups of the normalizations.
        epsilon: small number added to variances.
        time: `"add"`, `"scale_shift"`, or `None` for a block without time.
        dropout_rate: dropout rate before the second convolution.
        remat: whether to compute the block again in the backward pass.
        seed: integer seed of dropout.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: feature maps.
        time: features of the time, activated, `(batch, features)`.
        training: whether to apply dropout.
    """

    def __init__(
        self,
        filters: int,
        groups: int = 32,
        epsilon: float = 1e-5,
        time: str | None = "add",
        dropout_rate: float = 0.0,
        remat: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(groups, epsilon, remat, **kwargs)
        self.filters, self.time = filters, time
        self.dropout_rate, self.seed = dropout_rate, seed
        like = {"dtype": self.dtype_policy}
        self.norm_1 = self.make_norm("silu", "norm_1")
        self.convolution_1 = convolution(filters, name="convolution_1", **like)
        self.time_projection = None
        if time is not None:
            width = filters if time == "add" else 2 * filters
            self.time_projection = keras.layers.Dense(width, name="time_projection", **like)
        self.norm_2 = self.make_norm("silu", "norm_2")
        self.dropout = keras.layers.Dropout(dropout_rate, seed=seed, **like)
        self.convolution_2 = convolution(filters, zeros=True, name="convolution_2", **like)
        self.shortcut = None

    def build(self, inputs_shape: tuple, time_shape: tuple | None = None) -> None:
        hidden = (*inputs_shape[:-1], self.filters)
        self.norm_1.build(inputs_shape)
        self.convolution_1.build(inputs_shape)
        if self.time_projection is not None:
            self.time_projection.build(time_shape)
        self.norm_2.build(hidden)
        self.convolution_2.build(hidden)
        if inputs_shape[-1] != self.filters:
            self.shortcut = convolution(self.filters, 1, dtype=self.dtype_policy, name="shortcut")
            self.shortcut.build(inputs_shape)

    def call(self, inputs: Any, time: Any = None, training: bool | None = None) -> Any:
        def compute(x: Any, *time: Any) -> Any:
            h = self.convolution_1(self.norm_1(x, training=training))
            scale = shift = None
            if time:
                shift = self.time_projection(*time)
                if self.time == "scale_shift":
                    scale, shift = ops.split(shift, 2, axis=-1)
                else:
                    h, shift = h + shift[:, None, None], None
            h = self.norm_2(h, scale, shift, training=training)
            h = self.convolution_2(self.dropout(h, training=training))
            return h + (x if self.shortcut is None else self.shortcut(x))

        return self.run(compute, [inputs] if time is None else [inputs, time], training)

    def compute_output_shape(self, inputs_shape: tuple, time_shape: tuple | None = None) -> tuple:
        return (*inputs_shape[:-1], self.filters)

    def get_config(self) -> dict:
        own = {"filters": self.filters, "time": self.time}
        own |= {"dropout_rate": self.dropout_rate, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_ssl")
class AttentionBlock(_Block):
    """Attention of the positions of feature maps behind a group normalization, and a shortcut.

    With tokens, positions attend to these, otherwise to each other. The projection of the output
    starts as zero.

    Args:
        head_dim: width of each head.
        groups: number of groups of the normalization.
        epsilon: small number added to variances.
        remat: whether to compute the block again in the backward pass.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: feature maps.
        tokens: `(batch, tokens, width)`.
        tokens_mask: booleans `(batch, tokens)`, `False` for padding.
        training: whether this is a training step.
    """

    def __init__(
        self,
        head_dim: int,
        groups: int = 32,
        epsilon: float = 1e-5,
        remat: bool = False,
        **kwargs: Any,
    ):
        super().__init__(groups, epsilon, remat, **kwargs)
        self.head_dim = head_dim
        self.norm = self.make_norm(None, "norm")
        self.attention = None

    def build(
        self,
        inputs_shape: tuple,
        tokens_shape: tuple | None = None,
        tokens_mask_shape: tuple | None = None,
    ) -> None:
        width = inputs_shape[-1]
        self.norm.build(inputs_shape)
        self.attention = MultiHeadAttention(
            width // self.head_dim,
            self.head_dim,
            output_initializer="zeros",
            dtype=self.dtype_policy,
            name="attention",
        )
        shapes = [(inputs_shape[0], None, width)]
        self.attention.build(*shapes, *([] if tokens_shape is None else [tokens_shape]))

    def call(
        self,
        inputs: Any,
        tokens: Any = None,
        tokens_mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        def compute(x: Any, *tokens: Any) -> Any:
            shape = ops.shape(x)
            h = self.norm(x, training=training)
            positions = -1 if None in x.shape[1:3] else x.shape[1] * x.shape[2]
            h = ops.reshape(h, (shape[0], positions, x.shape[-1]))
            h = self.attention(h, *tokens, value_mask=tokens_mask, training=training)
            return x + ops.reshape(h, shape)

        return self.run(compute, [inputs] if tokens is None else [inputs, tokens], training)

    def compute_output_shape(
        self,
        inputs_shape: tuple,
        tokens_shape: tuple | None = None,
        tokens_mask_shape: tuple | None = None,
    ) -> tuple:
        return tuple(inputs_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "head_dim": self.head_dim}


# a transposed convolution spreads a pixel over 4 rows: the 2 of the enlarged pixel and one on
# either side; the k-th row of the 3x3 kernel takes what lies k - 1 rows below
_SUMS_OF_NEIGHBORS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))


@keras.saving.register_keras_serializable(package="keras_ssl")
class Upsample(keras.layers.Layer):
    """Feature maps of twice the height and width: nearest neighbor, and a 3x3 convolution.

    Both are computed as one transposed convolution with a 4x4 kernel, the sums of what the 3x3
    kernel does with equal neighbors. It multiplies 4 instead of 9 pixels for each of the output.

    Args:
        filters: number of output channels.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.convolution = convolution(filters, name="convolution", dtype=self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        self.convolution.build(input_shape)

    def call(self, inputs: Any) -> Any:
        kernel = ops.convert_to_tensor(self.convolution.kernel)
        sums = ops.convert_to_tensor(_SUMS_OF_NEIGHBORS, kernel.dtype)
        kernel = ops.einsum("ya,xb,abio->yxoi", sums, sums, kernel)
        outputs = ops.conv_transpose(inputs, kernel, strides=2, padding="same")
        return outputs + ops.convert_to_tensor(self.convolution.bias)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width = (
            n if n is None else factor * n
            for factor, n in zip((1, 2, 2), input_shape, strict=False)
        )
        return (batch, height, width, self.filters)

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters}
