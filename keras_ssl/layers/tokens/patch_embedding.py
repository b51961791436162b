"""Patches of images as tokens."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops.patches import patchify


@keras.saving.register_keras_serializable(package="keras_ssl")
class PatchEmbedding(keras.layers.Layer):
    """Tokens of a vision transformer: a linear map of each patch of an image.

    This is a convolution whose stride is the size of its kernel, computed as one matrix product.

    Args:
        patch_size: positive integer or pair `(height, width)`: size of a patch.
        width: number of features of a token.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of the kernel, which is a matrix from the pixels of a patch
            to features.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of images.

    Input shape:
        `(batch, height, width, channels)`, height and width known and divisible by the patch size.

    Output shape:
        `(batch, patches, width)`, the patches row by row.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive, or images are not divisible by patches.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.PatchEmbedding(4, width=96)(np.zeros((2, 32, 32, 3), "float32")).shape
    TensorShape([2, 64, 96])

    Reference:
        - [Dosovitskiy et al., An Image is Worth 16x16 Words](https://arxiv.org/abs/2010.11929)
    """

    def __init__(
        self,
        patch_size: int | tuple[int, int],
        width: int,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.patch_size = checks.image_size("patch_size", patch_size)
        self.width = checks.integer("width", width, minimum=1)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def grid(self, input_shape: tuple) -> tuple[int, int]:
        """Return the numbers of rows and columns of patches of images of a shape."""
        sides = tuple(input_shape[1:3])
        if len(input_shape) != 4 or None in sides:
            raise ValueError(
                "`inputs` must be images of shape (batch, height, width, channels) with known "
                f"height and width. Received: shape {tuple(input_shape)}"
            )
        if any(side % patch for side, patch in zip(sides, self.patch_size, strict=True)):
            nearest = tuple(
                max(1, round(side / patch)) * patch
                for side, patch in zip(sides, self.patch_size, strict=True)
            )
            raise ValueError(
                "Height and width of images must be divisible by `patch_size`. Resize them to "
                f"{nearest}, or choose another patch size. Received: images of {sides}, "
                f"patch_size={self.patch_size}"
            )
        return sides[0] // self.patch_size[0], sides[1] // self.patch_size[1]

    def build(self, input_shape: tuple) -> None:
        self.grid(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: input_shape[-1]})
        pixels = self.patch_size[0] * self.patch_size[1] * input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel", shape=(pixels, self.width), initializer=self.kernel_initializer
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.width,), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        self.grid(inputs.shape)
        tokens = ops.matmul(patchify(inputs, self.patch_size), self.kernel)
        return tokens if self.bias is None else tokens + self.bias

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        rows, columns = self.grid(input_shape)
        return (input_shape[0], rows * columns, self.width)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "width": self.width,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
