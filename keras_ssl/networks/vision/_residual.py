"""Residual blocks as functions of symbolic tensors."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.networks._normalization import normalization_layer


def convolve(
    x: Any, filters: int, kernel_size: int, strides: int, name: str, use_bias: bool = False
) -> Any:
    """Convolve with windows centred on every `strides`-th pixel.

    With stride 2, Keras' `padding="same"` pads even sizes at the bottom and right only, unlike
    published weights expect, so padding is explicit.
    """
    padding = "same"
    if strides > 1 and kernel_size == 1:
        # takes the pixels first: TensorFlow's gradient of a strided convolution of single pixels
        # corrupts memory if channels are few
        x = keras.layers.AveragePooling2D(1, strides, name=f"{name}_pixels")(x)
        strides = 1
    elif strides > 1:
        padding = "valid"
        x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_padding")(x)
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out"),
        name=name,
    )(x)


def normalize(
    x: Any,
    name: str,
    normalization: bool | keras.layers.Layer = True,
    zero_init_gamma: bool = False,
) -> Any:
    """Apply batch normalization over the global batch, or a copy of a layer; `False` for none."""
    if normalization is False:
        return x
    return normalization_layer(normalization, zero_init_gamma, name=name)(x)


def activate(x: Any, name: str) -> Any:
    """Apply a ReLU."""
    return keras.layers.ReLU(name=name)(x)


def residual_block(
    x: Any,
    filters: Sequence[int],
    kernel_sizes: Sequence[int],
    strides: int,
    zero_init_last_gamma: bool,
    name: str,
    normalization: bool | keras.layers.Layer = True,
) -> Any:
    """Compute `relu(F(x) + shortcut(x))`, where F is a chain of convolutions.

    The first kernel larger than 1x1 carries the stride. The shortcut is the identity if shapes
    allow, otherwise a normalized 1x1 convolution. F starts as zero with `zero_init_last_gamma`.
    Convolutions have a bias if there is no normalization.
    """
    shortcut, use_bias = x, normalization is False
    if strides > 1 or x.shape[-1] != filters[-1]:
        shortcut = convolve(x, filters[-1], 1, strides, f"{name}_shortcut_conv", use_bias)
        shortcut = normalize(shortcut, f"{name}_shortcut_norm", normalization)

    strided = next(i for i, size in enumerate(kernel_sizes) if size > 1)
    last = len(filters) - 1
    for i, (width, size) in enumerate(zip(filters, kernel_sizes, strict=True)):
        stride = strides if i == strided else 1
        x = convolve(x, width, size, stride, f"{name}_conv{i + 1}", use_bias)
        starts_at_zero = zero_init_last_gamma and i == last
        x = normalize(x, f"{name}_norm{i + 1}", normalization, starts_at_zero)
        if i < last:
            x = activate(x, name=f"{name}_activation{i + 1}")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return activate(x, name=f"{name}_output")
