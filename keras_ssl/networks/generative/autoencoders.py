"""Convolutional encoders and decoders of autoencoders."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers import GroupNormalization
from keras_ssl.networks._sizes import check_image_shape, check_widths
from keras_ssl.networks.generative._blocks import ResidualBlock, common_divisor, convolution


def conv_encoder(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    widths: Sequence[int] = (32, 64),
    features: int | None = None,
    channels: int | None = None,
    *,
    blocks: int = 0,
    groups: int | None = None,
    name: str = "conv_encoder",
) -> keras.Model:
    """Build a convolutional encoder of images, the counterpart of `networks.conv_decoder`.

    Each level is a 4x4 convolution that halves height and width (rounded up), group normalization
    and SiLU, and `blocks` residual blocks. Behind them stands a dense layer to `features`, or a 3x3
    convolution to feature maps of `channels`.

    Args:
        input_shape: `(height, width, channels)` of the images.
        widths: number of channels of each level.
        features: number of features of an image. `trainers.VAE` maps any number to its latent
            variables.
        channels: number of channels of feature maps, in place of `features`.
        blocks: number of residual blocks of each level.
        groups: number of groups of the normalizations, which divides all widths; the most up to 32
            by default.
        name: name of the model.

    Returns:
        `keras.Model` from `(batch, height, width, channels)` to float32 `(batch, features)`, or
        `(batch, height / 2^n, width / 2^n, channels)` with n levels.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive, or not exactly one of `features` and `channels` is
            given.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> images = np.zeros((2, 28, 28, 1))
    >>> networks.conv_encoder((28, 28, 1), (8, 16), features=32)(images).shape
    TensorShape([2, 32])
    >>> networks.conv_encoder((28, 28, 1), (8, 16), channels=4, blocks=1)(images).shape
    TensorShape([2, 7, 7, 4])
    """
    input_shape = check_image_shape("input_shape", input_shape)
    widths, features, channels, blocks, groups = _checked(
        widths, features, channels, blocks, groups
    )
    if features is not None and None in input_shape:
        raise ValueError(
            "`features` needs images of a known size; `channels` does not. "
            f"Received: input_shape={input_shape}"
        )
    images = keras.Input(input_shape, name="images")
    x = images
    for level, width in enumerate(widths, start=1):
        x = keras.layers.Conv2D(width, 4, strides=2, padding="same", name=f"level{level}_halve")(x)
        x = GroupNormalization(groups, activation="silu", name=f"level{level}_norm")(x)
        x = _residual_blocks(x, blocks, groups, f"level{level}")
    if features is not None:
        x = keras.layers.Flatten(name="flatten")(x)
        outputs = keras.layers.Dense(features, dtype="float32", name="features")(x)
    else:
        outputs = convolution(channels, name="features", dtype="float32")(x)
    return keras.Model(images, outputs, name=name)


def conv_decoder(
    output_shape: tuple[int, int, int] = (28, 28, 1),
    widths: Sequence[int] = (32, 64),
    features: int | None = None,
    channels: int | None = None,
    *,
    blocks: int = 0,
    activation: Any = None,
    groups: int | None = None,
    name: str = "conv_decoder",
) -> keras.Model:
    """Build a convolutional decoder to images, the counterpart of `networks.conv_encoder`.

    It takes the same arguments, and its levels are those of the encoder in reverse: `blocks`
    residual blocks, and a 4x4 transposed convolution that doubles height and width.

    Args:
        output_shape: `(height, width, channels)` of the images.
        widths: number of channels of each level, in the order of the encoder's.
        features: number of features of an image.
        channels: number of channels of feature maps, in place of `features`.
        blocks: number of residual blocks of each level.
        activation: activation function of the pixels, or `None`, as for logits.
        groups: number of groups of the normalizations, which divides all widths; the most up to 32
            by default.
        name: name of the model.

    Returns:
        `keras.Model` from `(batch, features)` or `(batch, height / 2^n, width / 2^n, channels)`,
        rounded up, to float32 `(batch, height, width, channels)`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive, or not exactly one of `features` and `channels` is
            given.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> networks.conv_decoder((28, 28, 1), (8, 16), features=16)(np.zeros((2, 16))).shape
    TensorShape([2, 28, 28, 1])
    >>> networks.conv_decoder((28, 28, 1), (8, 16), channels=4)(np.zeros((2, 7, 7, 4))).shape
    TensorShape([2, 28, 28, 1])
    """
    output_shape = check_image_shape("output_shape", output_shape)
    if None in output_shape[:2]:
        raise ValueError(f"`output_shape` must be known. Received: output_shape={output_shape}")
    widths, features, channels, blocks, groups = _checked(
        widths, features, channels, blocks, groups
    )
    # the sizes behind each level of the encoder, which rounds up
    sizes = [output_shape[:2]]
    for _ in widths:
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    first = sizes.pop()
    if features is not None:
        latent = keras.Input((features,), name="latent")
        x = keras.layers.Dense(first[0] * first[1] * widths[-1], name="first")(latent)
        x = keras.layers.Reshape((*first, widths[-1]), name="maps")(x)
    else:
        latent = keras.Input((*first, channels), name="latent")
        x = convolution(widths[-1], name="first")(latent)
    for level in range(len(widths), 0, -1):
        x = _residual_blocks(x, blocks, groups, f"level{level}")
        x = GroupNormalization(groups, activation="silu", name=f"level{level}_norm")(x)
        # to the width of the level before; the last one keeps its own for one more convolution
        below = widths[max(level - 2, 0)]
        x = keras.layers.Conv2DTranspose(
            below, 4, strides=2, padding="same", name=f"level{level}_double"
        )(x)
        height, width = sizes.pop()
        if x.shape[1:3] != (height, width):
            surplus = ((0, x.shape[1] - height), (0, x.shape[2] - width))
            x = keras.layers.Cropping2D(surplus, name=f"level{level}_crop")(x)
    x = GroupNormalization(groups, activation="silu", name="last_norm")(x)
    x = convolution(output_shape[-1], name="pixels", dtype="float32")(x)
    if activation is not None:
        x = keras.layers.Activation(activation, dtype="float32", name="activation")(x)
    return keras.Model(latent, x, name=name)


def _checked(
    widths: Any, features: Any, channels: Any, blocks: Any, groups: Any
) -> tuple[tuple[int, ...], int | None, int | None, int, int]:
    """Check and return the arguments that encoder and decoder share."""
    widths = check_widths("widths", widths)
    features = checks.integer("features", features, minimum=1, optional=True)
    channels = checks.integer("channels", channels, minimum=1, optional=True)
    if (features is None) == (channels is None):
        raise ValueError(
            "Pass either `features`, for a vector per image, or `channels`, for feature maps. "
            f"Received: features={features}, channels={channels}"
        )
    blocks = checks.integer("blocks", blocks, minimum=0)
    return widths, features, channels, blocks, common_divisor("groups", groups, widths)


def _residual_blocks(x: Any, count: int, groups: int, name: str) -> Any:
    for number in range(1, count + 1):
        x = ResidualBlock(x.shape[-1], groups, time=None, name=f"{name}_block{number}")(x)
    return x
