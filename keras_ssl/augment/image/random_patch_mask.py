"""Random masks of patches."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image.image_augmentation import ImageAugmentation


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomPatchMask(ImageAugmentation):
    """Random patches of each image replaced by a constant: MSN's random mask.

    Images are cut into a grid of patches without overlap. The same number of patches is hidden in
    each image, chosen separately. As patches are hidden and not removed, any encoder can be used.
    MSN's focal mask, which shows only one block of the image, is a small crop.

    Args:
        grid: rows and columns of patches; an integer, or a pair. A vision transformer with patches
            of 16x16 has a grid of 14 for images of 224x224.
        share: fraction of patches that are hidden, in [0, 1), rounded up to a whole number.
        fill: value of hidden pixels, in `value_range`; `None` for its middle.
        value_range: `(low, high)` of the images.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to hide patches.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point, in `value_range`; height and
        width multiples of the grid's rows and columns.

    Output shape:
        That of the input, float32.

    Raises:
        ValueError: if `share` would hide all patches or lies outside [0, 1), `fill` lies
            outside `value_range`, or the grid does not divide the images.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> mask = augment.RandomPatchMask(grid=2, share=0.25, fill=0, seed=0)
    >>> image = mask(np.ones((1, 4, 4, 1)))
    >>> int(np.sum(image))  # of 16 pixels, those of one patch are hidden
    12

    Reference:
        - [Assran et al., Masked Siamese Networks for Label-Efficient
          Learning](https://arxiv.org/abs/2204.07141)
    """

    def __init__(
        self,
        grid: int | tuple[int, int],
        share: float = 0.15,
        fill: float | None = None,
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.grid = checks.image_size("grid", grid)
        self.share = checks.probability("share", share)
        self.value_range = checks.interval("value_range", value_range, distinct=True)
        if fill is not None:
            fill = checks.number("fill", fill, *self.value_range)
        self.fill = fill
        # rounded first: a product of floats may lie just above a whole number
        self.hidden = math.ceil(round(self.share * self.uniforms_per_image, 6))
        if self.hidden == self.uniforms_per_image:
            raise ValueError(
                f"`share` must leave a patch of the {self.grid[0]} x {self.grid[1]} in sight. "
                f"Received: share={share}"
            )

    @property
    def uniforms_per_image(self) -> int:
        """One per patch."""
        return self.grid[0] * self.grid[1]

    def parameters(self, uniforms: Any, image_shape: tuple) -> dict:
        """Which patches to hide: `hidden`, bool `(batch, rows, columns)`."""
        for name, size, count in zip(("height", "width"), image_shape, self.grid, strict=False):
            if isinstance(size, int) and size % count:
                raise ValueError(
                    f"Layer '{self.name}' cuts images into {self.grid[0]} x {self.grid[1]} "
                    f"patches, and {count} does not divide the {name}. "
                    f"Received: images of height and width {tuple(image_shape[:2])}"
                )
        # ranks of the numbers of an image: exactly `hidden` are smaller, even with ties
        rank = ops.argsort(ops.argsort(uniforms, axis=-1), axis=-1)
        return {"hidden": ops.reshape(rank < self.hidden, (-1, *self.grid))}

    def apply(self, images: Any, parameters: dict) -> Any:
        """Hide given patches; returns float32."""
        x = ops.cast(images, "float32")
        batch, height, width, channels = ops.shape(x)
        rows, columns = self.grid
        patches = (batch, rows, height // rows, columns, width // columns, channels)
        hidden = parameters["hidden"][:, :, None, :, None, None]
        fill = sum(self.value_range) / 2 if self.fill is None else self.fill
        x = ops.where(hidden, fill, ops.reshape(x, patches))
        return ops.reshape(x, (batch, height, width, channels))

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "grid": self.grid,
            "share": self.share,
            "fill": self.fill,
            "value_range": self.value_range,
        }
