"""Colour operations as affine maps.

Brightness, contrast, saturation, hue and grayscale act on pixels linearly, but contrast pulls them
to the image's mean, which earlier steps have moved. With `x` a pixel and `m` the mean pixel of its
image, every step is

    x' - m' = P (x - m),     m' = S m + t,

and a chain of steps is `P = P_2 P_1`, `S = S_2 S_1`, `t = S_2 t_1 + t_2`. So a whole chain is
exactly one affine map per image.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_ssl.augment.image.image_augmentation import ImageAugmentation

# ITU-R BT.601 luma weights, those of Pillow, torchvision and TensorFlow
LUMA = np.array([0.299, 0.587, 0.114])


class ColorMap(NamedTuple):
    """Affine map of the colours of each image.

    Attributes:
        deviation: `P`, tensor `(batch, channels, channels)`.
        mean: `S`, tensor `(batch, channels, channels)`.
        offset: `t`, tensor `(batch, channels)`.
    """

    deviation: Any
    mean: Any
    offset: Any

    def then(self, other: "ColorMap") -> "ColorMap":
        """This map followed by another."""
        return ColorMap(
            ops.matmul(other.deviation, self.deviation),
            ops.matmul(other.mean, self.mean),
            ops.matmul(other.mean, self.offset[:, :, None])[:, :, 0] + other.offset,
        )

    def shift(self, mean: Any) -> Any:
        """The offset to add to `P x`: `S m + t - P m`, for the mean pixel `m` of each image."""
        mixed = ops.matmul(self.mean - self.deviation, mean[:, :, None])[:, :, 0]
        return mixed + self.offset

    def apply_to_planes(self, planes: Any) -> Any:
        """Mix planes `(batch, channels, height, width)` into images, channels last.

        A sum over the channels, unlike a matrix product, is one pass with the transposition.
        """
        shift = self.shift(ops.mean(planes, axis=(2, 3)))
        return shift[:, None, None] + sum(
            planes[:, channel, :, :, None] * self.deviation[:, None, None, :, channel]
            for channel in range(planes.shape[1])
        )


class ColorAugmentation(ImageAugmentation):
    """Random operation on the colours of images that is an affine map and can be folded.

    Subclasses implement `color_map`; `apply` follows from it.

    Args:
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> from keras_ssl import augment
    >>> class Dim(augment.ColorAugmentation):
    ...     uniforms_per_image = 1
    ...
    ...     def parameters(self, uniforms, image_shape):
    ...         return 0.5 + 0.5 * uniforms[:, 0]
    ...
    ...     def color_map(self, parameters, channels):
    ...         matrix = parameters[:, None, None] * ops.eye(channels)
    ...         return augment.ColorMap(matrix, matrix, ops.zeros((1, channels)))
    >>> pipeline = augment.FusedPipeline([Dim(), augment.Grayscale()])
    >>> pipeline(np.zeros((8, 32, 32, 3), "uint8")).shape
    TensorShape([8, 32, 32, 3])
    """

    def color_map(self, parameters: Any, channels: int) -> ColorMap:
        """Return the operation as an affine map of each image's colours.

        Args:
            parameters: result of `parameters`.
            channels: number of channels of the images.

        Returns:
            A `ColorMap` with one map per image.
        """
        raise NotImplementedError

    def apply(self, images: Any, parameters: Any) -> Any:
        """Apply the map to images; returns float32."""
        x = ops.cast(images, "float32")
        color = self.color_map(parameters, x.shape[-1])
        shift = color.shift(ops.mean(x, axis=(1, 2)))
        mixed = ops.matmul(x, ops.transpose(color.deviation, (0, 2, 1))[:, None])
        return mixed + shift[:, None, None]


def identity(channels: int) -> Any:
    """Identity matrix, float32 `(channels, channels)`."""
    return ops.eye(channels, dtype="float32")


def luma_projection() -> np.ndarray:
    """Matrix `1 l^T`, which sets the three channels to their luma."""
    return np.ones((3, 1)) * LUMA


def chroma_projection() -> np.ndarray:
    """Matrix `I - 1 l^T`, which removes the luma and leaves the chroma."""
    return np.eye(3) - luma_projection()
