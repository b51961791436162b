"""The U-Net for segmentation."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.networks._normalization import check_normalization
from keras_ssl.networks._sizes import DivisibleSize, check_image_shape, check_size, check_widths
from keras_ssl.networks.vision._residual import activate, convolve, normalize

_UPSAMPLINGS = ("transposed", "nearest", "bilinear")


def unet(
    input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
    outputs: int = 1,
    widths: Sequence[int] = (32, 64, 128, 256),
    blocks: int = 2,
    upsampling: str = "transposed",
    include_rescaling: bool = True,
    normalization: bool | keras.layers.Layer = True,
    dropout_rate: float = 0.0,
    seed: int | None = None,
    name: str = "unet",
) -> keras.Model:
    """Build a U-Net, which returns a value, or several, for each pixel of an image.

    On the way down each level convolves and then halves height and width by max pooling; on the way
    up each level doubles them, concatenates what the same level returned on the way down, and
    convolves. Convolutions are 3x3 and keep the size, so outputs have the size of the images.

    Args:
        input_shape: `(height, width, channels)` of the images. Height and width may be `None`; they
            must be divisible by `2 ** (len(widths) - 1)`.
        outputs: number of values for each pixel, such as 1 logit of a mask, or one per class.
        widths: number of channels of each level, from the first, at full size, to the last.
        blocks: number of convolutions of each level, each with normalization and ReLU.
        upsampling: `"transposed"` doubles height and width by a learned 2x2 transposed convolution;
            `"nearest"` or `"bilinear"` interpolate, followed by a 3x3 convolution.
        include_rescaling: whether the network first rescales pixels from [0, 255] to [-1, 1]. If
            `False`, images are not rescaled.
        normalization: `True` for `layers.SyncBatchNormalization()`, `False` for none, or a Keras
            layer to be copied after each convolution.
        dropout_rate: rate of spatial dropout, of whole channels, behind the last level.
        seed: integer seed of dropout.
        name: name of the model.

    Returns:
        `keras.Model` from `(batch, height, width, channels)` to float32
        `(batch, height, width, outputs)`, without activation. The last level, the most compressed
        features, is the output of the layer `"middle"`.

    Raises:
        TypeError: if a number is not an integer, or `normalization` neither a bool nor a layer.
        ValueError: if a number is out of range, `upsampling` unknown, or the size not divisible.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> network = networks.unet((None, None, 3), outputs=4, widths=(8, 16, 32))
    >>> network(np.zeros((2, 20, 28, 3))).shape
    TensorShape([2, 20, 28, 4])
    >>> network(np.zeros((2, 21, 28, 3)))
    Traceback (most recent call last):
    ...
    ValueError: ...The nearest sizes that fit are 20x28 or 24x28...

    Reference:
        - [Ronneberger et al., U-Net](https://arxiv.org/abs/1505.04597)
    """
    input_shape = check_image_shape("input_shape", input_shape)
    outputs = checks.integer("outputs", outputs, minimum=1)
    widths = check_widths("widths", widths)
    multiple = 2 ** (len(widths) - 1)
    check_size(input_shape, multiple)
    blocks = checks.integer("blocks", blocks, minimum=1)
    if upsampling not in _UPSAMPLINGS:
        raise ValueError(
            f"`upsampling` must be one of {list(_UPSAMPLINGS)}. Received: upsampling={upsampling!r}"
        )
    check_normalization(normalization)
    dropout_rate = checks.below_one("dropout_rate", dropout_rate)

    def level(x: Any, width: int, name: str) -> Any:
        for number in range(1, blocks + 1):
            x = convolve(x, width, 3, 1, f"{name}_conv{number}", use_bias=normalization is False)
            x = normalize(x, f"{name}_norm{number}", normalization)
            x = activate(x, f"{name}_activation{number}")
        return x

    images = keras.Input(input_shape, name="images")
    x = DivisibleSize(multiple, name="size")(images)
    if include_rescaling:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(x)
    skips = []
    for number, width in enumerate(widths[:-1], start=1):
        x = level(x, width, f"down{number}")
        skips.append(x)
        x = keras.layers.MaxPooling2D(2, name=f"down{number}_pool")(x)
    x = level(x, widths[-1], "last")
    x = keras.layers.SpatialDropout2D(dropout_rate, seed=seed, name="middle")(x)
    for number, width in reversed(list(enumerate(widths[:-1], start=1))):
        x = _double(x, width, upsampling, f"up{number}")
        x = keras.layers.Concatenate(name=f"up{number}_skip")([skips.pop(), x])
        x = level(x, width, f"up{number}")
    logits = keras.layers.Conv2D(outputs, 1, dtype="float32", name="outputs")(x)
    return keras.Model(images, logits, name=name)


def _double(x: Any, width: int, upsampling: str, name: str) -> Any:
    """Return feature maps of twice the height and width."""
    if upsampling == "transposed":
        return keras.layers.Conv2DTranspose(
            width, 2, strides=2, kernel_initializer="he_normal", name=f"{name}_double"
        )(x)
    x = keras.layers.UpSampling2D(2, interpolation=upsampling, name=f"{name}_double")(x)
    return convolve(x, width, 3, 1, f"{name}_double_conv", use_bias=True)
