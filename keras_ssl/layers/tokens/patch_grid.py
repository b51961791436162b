"""Grids of image patches."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class PatchGrid(keras.layers.Layer):
    """Division of images into a grid of patches, which overlap if `strides` is below `size`.

        patch[i, j] = image[i s : i s + size, j s : j s + size]

    where s is the stride. Pixels at the right and bottom that do not fill a patch are dropped.
    Patches are gathered, so unlike with `keras.ops.image.extract_patches`, which convolves, the
    cost does not grow with the square of the patch size and integers stay integers.

    Args:
        size: positive integer or pair `(height, width)`: size of a patch.
        strides: positive integer or pair: distance between patches. `None` means `size`, patches
            without overlap.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: batch of images of any dtype.

    Input shape:
        `(batch, height, width, channels)` with known height and width.

    Output shape:
        `(batch, rows, columns, patch height, patch width, channels)` with
        `(height - patch height) // strides + 1` rows, and likewise for columns.

    Raises:
        TypeError: if `size` or `strides` is not an integer or pair of integers.
        ValueError: if one is not positive, the images have another rank or unknown size, or a
            patch is larger than the images.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.PatchGrid(64, strides=32)(np.zeros((2, 256, 256, 3))).shape
    TensorShape([2, 7, 7, 64, 64, 3])
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        strides: int | tuple[int, int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.size = checks.image_size("size", size)
        self.strides = self.size if strides is None else checks.image_size("strides", strides)

    def call(self, inputs: Any) -> Any:
        height, width = (
            start[:, None] + np.arange(side)
            for start, side in zip(self._starts(inputs.shape), self.size, strict=True)
        )
        x = ops.take(inputs, height, axis=1)  # (batch, rows, patch height, width, channels)
        x = ops.take(x, width, axis=3)
        return ops.transpose(x, (0, 1, 3, 2, 4, 5))

    def _starts(self, shape: Any) -> list[np.ndarray]:
        """First pixels of the rows and columns of patches."""
        if len(shape) != 4 or None in shape[1:3]:
            raise ValueError(
                "`inputs` must be images of shape (batch, height, width, channels) with known "
                f"height and width. Received: shape {tuple(shape)}"
            )
        if any(side > there for side, there in zip(self.size, shape[1:3], strict=True)):
            raise ValueError(
                "`size` must not be larger than the images. Received: "
                f"size={self.size}, images of height and width {tuple(shape[1:3])}"
            )
        sides = zip(shape[1:3], self.size, self.strides, strict=True)
        return [np.arange(0, there - side + 1, stride) for there, side, stride in sides]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        rows, columns = (len(starts) for starts in self._starts(input_shape))
        return (input_shape[0], rows, columns, *self.size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "strides": self.strides}
