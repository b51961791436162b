"""Residual networks that encode each image as one feature vector."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.networks._normalization import check_normalization
from keras_ssl.networks.vision._residual import residual_block
from keras_ssl.networks.vision.stems import cifar_stem, strided_stem


def resnet(
    blocks: Sequence[int],
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    width: int = 64,
    bottleneck: bool = False,
    stem: Callable[..., Any] = cifar_stem,
    include_rescaling: bool = True,
    zero_init_last_gamma: bool = True,
    name: str = "resnet",
    normalization: bool | keras.layers.Layer = True,
) -> keras.Model:
    """Build a residual network that ends in global average pooling.

    Stage `i` (from 0) has `blocks[i]` residual blocks of `width * 2**i` channels; all stages but
    the first halve the height and width of the feature map. The stride of a bottleneck block
    is in its 3x3 convolution, as in torchvision.

    Args:
        blocks: number of residual blocks in each stage.
        input_shape: `(height, width, channels)` of the images. Height and width may be `None`.
        width: channels of the stem and of the first stage.
        bottleneck: if `False`, a block is two 3x3 convolutions. If `True`, it is a 1x1, a 3x3
            and a 1x1 convolution, the last with four times the channels.
        stem: function from the images and `width` to the first feature map, such as
            `networks.cifar_stem`, `networks.strided_stem` or `networks.imagenet_stem`. If it has an
            argument `normalization`, it gets that too.
        include_rescaling: whether the network first rescales pixels from [0, 255] to [-1, 1]. If
            `False`, images are not rescaled.
        zero_init_last_gamma: whether the last normalization of each block starts with scale 0, so
            that each block starts as its shortcut
            ([Goyal et al., 2017](https://arxiv.org/abs/1706.02677)).
        name: name of the model.
        normalization: `True` for `layers.SyncBatchNormalization()`, `False` for none (convolutions
            then have a bias), or a Keras layer to be copied after each convolution, such as
            `keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)` or
            `keras.layers.GroupNormalization(8)`. With a layer of Keras the network consists of
            Keras' own layers, and its file is loaded without `import keras_ssl`.

    Returns:
        `keras.Model` from `(batch, height, width, channels)` to `(batch, features)`. Its layers
        are named `stem_...` and `stage<i>_block<j>_...`, counted from 1. The output of a block is
        that of `stage<i>_block<j>_output`.

    Raises:
        ValueError: if `blocks` is empty, `input_shape` has no known number of channels, or a
            number is not positive.
        TypeError: if `stem` is not callable, or `normalization` is neither a bool nor a layer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.resnet((1, 1), input_shape=(16, 16, 1), width=8)
    >>> encoder(np.zeros((2, 16, 16, 1))).shape
    TensorShape([2, 16])

    Reference:
        - [He et al., Deep Residual Learning for Image Recognition](https://arxiv.org/abs/1512.03385)
    """
    _check_arguments(blocks, input_shape, width, stem, normalization)
    images = keras.Input(input_shape, name="images")
    x = images
    if include_rescaling:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(x)
    takes_normalization = "normalization" in inspect.signature(stem).parameters
    x = stem(x, width, **({"normalization": normalization} if takes_normalization else {}))
    kernel_sizes = (1, 3, 1) if bottleneck else (3, 3)
    for stage, count in enumerate(blocks):
        channels = width * 2**stage
        filters = (channels, channels, 4 * channels) if bottleneck else (channels, channels)
        for block in range(count):
            x = residual_block(
                x,
                filters,
                kernel_sizes,
                strides=2 if stage > 0 and block == 0 else 1,
                zero_init_last_gamma=zero_init_last_gamma,
                name=f"stage{stage + 1}_block{block + 1}",
                normalization=normalization,
            )
    features = keras.layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(images, features, name=name)


def resnet18(
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    width: int = 64,
    name: str = "resnet18",
    **kwargs: Any,
) -> keras.Model:
    """Build a ResNet-18 without its classifier.

    Args:
        input_shape: `(height, width, channels)`, as in `networks.resnet`.
        width: channels of the first stage.
        name: name of the model.
        **kwargs: other arguments of `networks.resnet`.

    Returns:
        `keras.Model` from `(batch, height, width, channels)` to `(batch, 8 * width)`.

    Example:

    >>> from keras_ssl import networks
    >>> networks.resnet18((32, 32, 3), width=8).output_shape
    (None, 64)

    Reference:
        - [He et al., Deep Residual Learning for Image Recognition](https://arxiv.org/abs/1512.03385)
    """
    return resnet((2, 2, 2, 2), input_shape, width, name=name, **kwargs)


def resnet34(
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    width: int = 64,
    name: str = "resnet34",
    **kwargs: Any,
) -> keras.Model:
    """Build a ResNet-34 without its classifier.

    Args:
        input_shape: `(height, width, channels)`, as in `networks.resnet`.
        width: channels of the first stage.
        name: name of the model.
        **kwargs: other arguments of `networks.resnet`.

    Returns:
        `keras.Model` from `(batch, height, width, channels)` to `(batch, 8 * width)`.

    Example:

    >>> from keras_ssl import networks
    >>> networks.resnet34((32, 32, 3), width=4).output_shape
    (None, 32)

    Reference:
        - [He et al., Deep Residual Learning for Image Recognition](https://arxiv.org/abs/1512.03385)
    """
    return resnet((3, 4, 6, 3), input_shape, width, name=name, **kwargs)


def resnet50(
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    width: int = 64,
    name: str = "resnet50",
    **kwargs: Any,
) -> keras.Model:
    """Build a ResNet-50 without its classifier.

    Args:
        input_shape: `(height, width, channels)`, as in `networks.resnet`.
        width: channels of the 3x3 convolutions of the first stage.
        name: name of the model.
        **kwargs: other arguments of `networks.resnet`.

    Returns:
        `keras.Model` from `(batch, height, width, channels)` to `(batch, 32 * width)`.

    Example:

    >>> from keras_ssl import networks
    >>> networks.resnet50((32, 32, 3), width=4).output_shape
    (None, 128)

    Reference:
        - [He et al., Deep Residual Learning for Image Recognition](https://arxiv.org/abs/1512.03385)
    """
    return resnet((3, 4, 6, 3), input_shape, width, bottleneck=True, name=name, **kwargs)


def small_resnet(
    input_shape: tuple[int | None, int | None, int] = (28, 28, 1),
    width: int = 32,
    stem: Callable[..., Any] = strided_stem,
    name: str = "small_resnet",
    **kwargs: Any,
) -> keras.Model:
    """Build a residual network of three one-block stages, for small images on CPUs.

    Args:
        input_shape: `(height, width, channels)`, as in `networks.resnet`.
        width: channels of the first stage.
        stem: function from the images to the first feature map.
        name: name of the model.
        **kwargs: other arguments of `networks.resnet`.

    Returns:
        `keras.Model` from `(batch, height, width, channels)` to `(batch, 4 * width)`.

    Example:

    >>> from keras_ssl import networks
    >>> networks.small_resnet((28, 28, 1)).output_shape
    (None, 128)
    """
    return resnet((1, 1, 1), input_shape, width, stem=stem, name=name, **kwargs)


def _check_arguments(
    blocks: Any, input_shape: Any, width: Any, stem: Any, normalization: Any
) -> None:
    if not blocks or any(count < 1 for count in blocks):
        raise ValueError(
            f"`blocks` must hold a positive number of blocks for each stage. Received: {blocks=}"
        )
    if len(input_shape) != 3 or input_shape[-1] is None or input_shape[-1] < 1:
        raise ValueError(
            "`input_shape` must be (height, width, channels) with a known, positive number of "
            f"channels. Received: {input_shape=}"
        )
    checks.integer("width", width, minimum=1)
    if not callable(stem):
        raise TypeError(
            "`stem` must be a function of (images, width), such as `networks.cifar_stem`. "
            f"Received: {stem=}"
        )
    check_normalization(normalization)
