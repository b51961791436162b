"""Residual blocks and stages as functions of symbolic tensors."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers import SyncBatchNormalization


def convolve(x: Any, filters: int, kernel_size: int, strides: int, name: str) -> Any:
    """A convolution without bias whose window is centred on each `strides`-th pixel.

    Keras' `padding="same"` centres differently at stride 2 than published weights expect: it
    pads an even image below and to the right only. Padding is explicit where that matters.
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
    """Batch normalisation over the global batch."""
    return SyncBatchNormalization(gamma_initializer=gamma_initializer, name=name)(x)


def activate(x: Any, name: str) -> Any:
    """Rectified linear unit."""
    return keras.layers.ReLU(name=name)(x)


def residual_block(
    x: Any,
    filters: Sequence[int],
    kernel_sizes: Sequence[int],
    strides: int,
    zero_init_last_gamma: bool,
    name: str,
) -> Any:
    """`relu(F(x) + shortcut(x))`, where F is a chain of convolutions.

    Args:
        x: symbolic feature map.
        filters: output channels of each convolution of F.
        kernel_sizes: kernel size of each. The first one above 1 carries the stride.
        strides: stride of the block.
        zero_init_last_gamma: whether F starts as zero, through the scale of its last
            normalisation.
        name: prefix of the layers' names.

    Returns:
        Symbolic feature map. The shortcut is the identity where shapes allow, else a
        normalised 1x1 convolution.
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
