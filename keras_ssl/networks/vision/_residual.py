"""Residual blocks as functions of symbolic tensors."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers import SyncBatchNormalization


def convolve(x: Any, filters: int, kernel_size: int, strides: int, name: str) -> Any:
    """Convolve without a bias, with windows centred on every `strides`-th pixel.

    With stride 2, Keras' `padding="same"` pads even sizes at the bottom and right only, unlike
    published weights expect, so padding is explicit.
    """
    padding = "same"
    if strides > 1:
        padding = "valid"
        if kernel_size > 1:
            x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_padding")(x)
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out"),
        name=name,
    )(x)


def normalize(x: Any, name: str, gamma_initializer: str = "ones") -> Any:
    """Apply batch normalization over the global batch."""
    return SyncBatchNormalization(gamma_initializer=gamma_initializer, name=name)(x)


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
) -> Any:
    """Compute `relu(F(x) + shortcut(x))`, where F is a chain of convolutions.

    The first kernel larger than 1x1 carries the stride. The shortcut is the identity if shapes
    allow, otherwise a normalized 1x1 convolution. F starts as zero with `zero_init_last_gamma`.
    """
    shortcut = x
    if strides > 1 or x.shape[-1] != filters[-1]:
        shortcut = convolve(x, filters[-1], 1, strides, name=f"{name}_shortcut_conv")
        shortcut = normalize(shortcut, name=f"{name}_shortcut_norm")

    strided = next(i for i, size in enumerate(kernel_sizes) if size > 1)
    last = len(filters) - 1
    for i, (width, size) in enumerate(zip(filters, kernel_sizes, strict=True)):
        x = convolve(x, width, size, strides if i == strided else 1, name=f"{name}_conv{i + 1}")
        gamma = "zeros" if zero_init_last_gamma and i == last else "ones"
        x = normalize(x, name=f"{name}_norm{i + 1}", gamma_initializer=gamma)
        if i < last:
            x = activate(x, name=f"{name}_activation{i + 1}")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return activate(x, name=f"{name}_output")
