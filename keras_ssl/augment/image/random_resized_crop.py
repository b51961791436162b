"""Random crops, resized."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image.geometry import (
    AxisMaps,
    GeometricAugmentation,
    Resampling,
    apply_maps,
)
from keras_ssl.augment.image.image_augmentation import CHANNELS_FIRST

_TRIES = 10


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomResizedCrop(GeometricAugmentation):
    """Random rectangle of each image, resized to a fixed size.

    `keras.layers.RandomCrop` cuts rectangles of a fixed size and `RandomZoom` scales the whole
    image; neither draws an area and an aspect ratio per image. Here a crop is two matrices per
    image, so it can be folded with a flip and a blur, and it compiles for TPU.

    The area is uniform in `scale` (a fraction of the image's), the aspect ratio (width / height)
    log-uniform in `ratio`, the place uniform. Ten rectangles are drawn at once and the first that
    fits is taken, so there is no loop. If none fits, the crop is the largest central rectangle
    whose aspect ratio lies in `ratio`. Edges may fall between pixels (torchvision rounds them to
    whole pixels); interpolation is linear, see `resize_matrix`.

    Outside training the whole image is resized, without keeping its aspect ratio.

    Args:
        size: height and width of the output; an integer, or a pair.
        scale: smallest and largest area, as a fraction of the image's.
        ratio: smallest and largest aspect ratio.
        antialias: whether to smooth where a crop is larger than `size`, as Pillow does.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to crop.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point, with height and width of at
        least `size`.

    Output shape:
        `(batch, size, size, channels)`, float32.

    Raises:
        ValueError: if `size` is larger than the images, or `scale` or `ratio` is not a valid range.

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

    uniforms_per_image = 2 * _TRIES + 2

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
        """Rectangles in pixels: `top`, `left`, `height` and `width`, each `(batch,)`."""
        full_height = ops.cast(image_shape[0], "float32")
        full_width = ops.cast(image_shape[1], "float32")
        low, high = self.scale
        area = full_height * full_width * (low + (high - low) * uniforms[:, :_TRIES])
        low, high = (math.log(edge) for edge in self.ratio)
        ratio = ops.exp(low + (high - low) * uniforms[:, _TRIES : 2 * _TRIES])
        heights, widths = ops.sqrt(area / ratio), ops.sqrt(area * ratio)

        fits = ops.cast((heights <= full_height) & (widths <= full_width), "float32")
        first = fits * ops.cast(ops.cumsum(fits, axis=1) == 1.0, "float32")
        fitting = ops.clip(full_width / full_height, *self.ratio)
        none = 1.0 - ops.max(fits, axis=1)
        height = ops.sum(first * heights, axis=1)
        height = height + none * ops.minimum(full_height, full_width / fitting)
        width = ops.sum(first * widths, axis=1)
        width = width + none * ops.minimum(full_width, full_height * fitting)

        down, right = uniforms[:, 2 * _TRIES], uniforms[:, 2 * _TRIES + 1]
        # the fallback is central
        down, right = down + none * (0.5 - down), right + none * (0.5 - right)
        return {
            "top": down * (full_height - height),
            "left": right * (full_width - width),
            "height": height,
            "width": width,
        }

    def fold(self, maps: AxisMaps, parameters: dict, image_shape: tuple) -> AxisMaps:
        """Append the crop to the maps of the operations before it."""
        _check_view_fits(self, self.size, image_shape)
        p = parameters
        return maps.then(
            Resampling(p["top"], p["height"], image_shape[0], self.size[0], self.antialias),
            Resampling(p["left"], p["width"], image_shape[1], self.size[1], self.antialias),
        )

    def at_inference(self, inputs: Any) -> Any:
        """Resize the whole image."""
        image_shape = tuple(ops.shape(inputs)[1:])
        whole = {"top": ops.zeros((1,)), "left": ops.zeros((1,))}
        whole["height"] = ops.reshape(ops.cast(image_shape[0], "float32"), (1,))
        whole["width"] = ops.reshape(ops.cast(image_shape[1], "float32"), (1,))
        return apply_maps(inputs, self.fold(AxisMaps(), whole, image_shape))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """`(batch, size, size, channels)`."""
        _check_view_fits(self, self.size, tuple(input_shape[1:]))
        return (input_shape[0], *self.size, input_shape[3])

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "size": self.size,
            "scale": self.scale,
            "ratio": self.ratio,
            "antialias": self.antialias,
        }


def _check_view_fits(layer: Any, size: tuple[int, int], image_shape: tuple) -> None:
    """Raise if views of `size` would be larger than the images they are cut from."""
    may_be_first = isinstance(image_shape[0], int) and image_shape[0] <= 4 < (image_shape[2] or 0)
    hint = f"{CHANNELS_FIRST} " if may_be_first else ""
    for wanted, available in zip(size, image_shape, strict=False):
        if isinstance(available, int) and wanted > available:
            raise ValueError(
                f"Layer '{layer.name}' makes views of size {tuple(size)}, larger than the images. "
                "Enlarge the images first, with `keras.layers.Resizing(height, width)` in the "
                "`tf.data` pipeline or before this layer, or ask for a smaller `size`. "
                f"{hint}Received: images of height and width {tuple(image_shape[:2])}"
            )
