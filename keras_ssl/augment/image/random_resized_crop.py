"""The random crop, resized."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image._checks import check_view_fits
from keras_ssl.augment.image.geometry import (
    AxisMaps,
    GeometricAugmentation,
    Resampling,
    apply_maps,
)

TRIES = 10


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomResizedCrop(GeometricAugmentation):
    """Cut a random rectangle out of each image and resize it to one size.

    Keras has `RandomCrop`, of a fixed size, and `RandomZoom`, of the whole image; none draws an
    area and an aspect ratio for each image, which is the augmentation that contrastive learning
    leans on most. This one does, and it is a pair of matrices an image, so it can be folded with
    a flip and a blur, and it compiles for TPU.

    The area is uniform in `scale` (as a part of the image's), the aspect ratio (width / height)
    log-uniform in `ratio`, the place uniform. A rectangle that does not fit is drawn again: ten
    tries are drawn at once and the first that fits is taken, so there is no loop. Where none fits
    the crop is the largest central rectangle whose ratio lies in `ratio`. Edges fall between
    pixels (torchvision rounds them to whole pixels); interpolation is linear, see
    `resize_matrix`.

    Outside training the whole image is resized, without keeping its aspect ratio.

    Args:
        size: height and width of the output; an integer, or a pair.
        scale: least and greatest area, as a part of the image's.
        ratio: least and greatest aspect ratio.
        antialias: whether to smooth where a crop is larger than `size`, as Pillow does.
        seed: integer seed.
        **kwargs: `name` and the like, as in `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to crop.

    Input shape:
        `(batch, height, width, channels)`, integer or floating; height and width at least `size`.

    Output shape:
        `(batch, size, size, channels)`, float32.

    Raises:
        ValueError: when `size` is larger than the images, or a range is wrong.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> crop = augment.RandomResizedCrop(24, scale=(0.2, 1.0), seed=0)
    >>> crop(np.zeros((8, 32, 32, 3), "uint8")).shape
    TensorShape([8, 24, 24, 3])

    Reference:
        - [Szegedy et al., Going deeper with convolutions](https://arxiv.org/abs/1409.4842)
          (the crop); [Chen et al., SimCLR](https://arxiv.org/abs/2002.05709) (its use)
    """

    uniforms_per_image = 2 * TRIES + 2

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        antialias: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.size = checks.image_size("size", size)
        self.scale = checks.interval("scale", scale, maximum=1.0, positive=True)
        self.ratio = checks.interval("ratio", ratio, positive=True)
        self.antialias = bool(antialias)

    def parameters(self, uniforms: Any, image_shape: tuple) -> dict:
        """The rectangles, in pixels: `top`, `left`, `height` and `width`, each `(batch,)`."""
        full_height = ops.cast(image_shape[0], "float32")
        full_width = ops.cast(image_shape[1], "float32")
        low, high = self.scale
        area = full_height * full_width * (low + (high - low) * uniforms[:, :TRIES])
        low, high = (math.log(edge) for edge in self.ratio)
        ratio = ops.exp(low + (high - low) * uniforms[:, TRIES : 2 * TRIES])
        heights, widths = ops.sqrt(area / ratio), ops.sqrt(area * ratio)

        fits = ops.cast((heights <= full_height) & (widths <= full_width), "float32")
        first = fits * ops.cast(ops.cumsum(fits, axis=1) == 1.0, "float32")
        fitting = ops.clip(full_width / full_height, *self.ratio)
        none = 1.0 - ops.max(fits, axis=1)
        height = ops.sum(first * heights, axis=1)
        height = height + none * ops.minimum(full_height, full_width / fitting)
        width = ops.sum(first * widths, axis=1)
        width = width + none * ops.minimum(full_width, full_height * fitting)

        down, right = uniforms[:, 2 * TRIES], uniforms[:, 2 * TRIES + 1]
        # the last resort is central
        down, right = down + none * (0.5 - down), right + none * (0.5 - right)
        return {
            "top": down * (full_height - height),
            "left": right * (full_width - width),
            "height": height,
            "width": width,
        }

    def fold(self, maps: AxisMaps, parameters: dict, image_shape: tuple) -> AxisMaps:
        """Put the crop behind the maps of the operations before it."""
        check_view_fits(self, self.size, image_shape)
        p = parameters
        return maps.then(
            Resampling(p["top"], p["height"], image_shape[0], self.size[0], self.antialias),
            Resampling(p["left"], p["width"], image_shape[1], self.size[1], self.antialias),
        )

    def rest(self, images: Any) -> Any:
        """Resize the whole image."""
        image_shape = tuple(ops.shape(images)[1:])
        whole = {"top": ops.zeros((1,)), "left": ops.zeros((1,))}
        whole["height"] = ops.reshape(ops.cast(image_shape[0], "float32"), (1,))
        whole["width"] = ops.reshape(ops.cast(image_shape[1], "float32"), (1,))
        return apply_maps(images, self.fold(AxisMaps(), whole, image_shape))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """`(batch, size, size, channels)`."""
        check_view_fits(self, self.size, tuple(input_shape[1:]))
        return (input_shape[0], *self.size, input_shape[3])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "size": self.size,
            "scale": self.scale,
            "ratio": self.ratio,
            "antialias": self.antialias,
        }
