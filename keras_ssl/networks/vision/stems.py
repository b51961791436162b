"""Stems, the first layers of convolutional networks."""

from typing import Any

import keras

from keras_ssl.networks.vision._residual import activate, convolve, normalize


def cifar_stem(x: Any, width: int, normalization: bool | keras.layers.Layer = True) -> Any:
    """3x3 convolution at full resolution, for small images such as CIFAR's.

    Args:
        x: symbolic tensor of images, `(batch, height, width, channels)`.
        width: output channels.
        normalization: as in `networks.resnet`.

    Returns:
        Feature map with the height and width of the images.

    Example:

    >>> from keras_ssl import networks
    >>> encoder = networks.resnet18((32, 32, 3), width=8, stem=networks.cifar_stem)
    >>> encoder.get_layer("stem_activation").output.shape
    (None, 32, 32, 8)

    Reference:
        - [Chen et al., SimCLR](https://arxiv.org/abs/2002.05709), appendix B.9
    """
    return _convolution_stem(x, width, 3, 1, normalization)


def strided_stem(x: Any, width: int, normalization: bool | keras.layers.Layer = True) -> Any:
    """3x3 convolution with stride 2. Later layers cost a quarter of those after `cifar_stem`.

    Args:
        x: symbolic tensor of images, `(batch, height, width, channels)`.
        width: output channels.
        normalization: as in `networks.resnet`.

    Returns:
        Feature map with half the height and width.

    Example:

    >>> from keras_ssl import networks
    >>> encoder = networks.resnet18((32, 32, 3), width=8, stem=networks.strided_stem)
    >>> encoder.get_layer("stem_activation").output.shape
    (None, 16, 16, 8)
    """
    return _convolution_stem(x, width, 3, 2, normalization)


def imagenet_stem(x: Any, width: int, normalization: bool | keras.layers.Layer = True) -> Any:
    """7x7 convolution with stride 2 and 3x3 max pooling with stride 2, for large images.

    Args:
        x: symbolic tensor of images, `(batch, height, width, channels)`.
        width: output channels.
        normalization: as in `networks.resnet`.

    Returns:
        Feature map with a quarter of the height and width.

    Example:

    >>> from keras_ssl import networks
    >>> encoder = networks.resnet18((96, 96, 3), width=8, stem=networks.imagenet_stem)
    >>> encoder.get_layer("stem_pool").output.shape
    (None, 24, 24, 8)

    Reference:
        - [He et al., Deep Residual Learning](https://arxiv.org/abs/1512.03385), table 1
    """
    x = _convolution_stem(x, width, 7, 2, normalization)
    # after a ReLU, padding with zeros and with minus infinity have the same maximum
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_padding")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


def _convolution_stem(
    x: Any, width: int, kernel_size: int, strides: int, normalization: bool | keras.layers.Layer
) -> Any:
    x = convolve(x, width, kernel_size, strides, "stem_conv", use_bias=normalization is False)
    return activate(normalize(x, "stem_norm", normalization), name="stem_activation")
