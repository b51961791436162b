"""Grids of patches, each patch augmented on its own."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image.fused_pipeline import FusedPipeline
from keras_ssl.augment.image.image_augmentation import ImageAugmentation, check_rank
from keras_ssl.layers import PatchGrid


@keras.saving.register_keras_serializable(package="keras_ssl")
class PatchViews(ImageAugmentation):
    """Grid of overlapping patches of each image, each patch augmented with its own random numbers.

    The views of CPC: patches of one image differ in colour, so that what neighbours share is
    their content.

    Args:
        size: height and width of a patch; an integer, or a pair.
        strides: rows and columns between neighbouring patches; an integer, or a pair. `None` means
            half of `size`.
        pipeline: a Keras layer or a list of them, applied to the patches; by default none.
        seed: integer seed of the layers of this package; others have their own seeds.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to augment. With `False` images are only cut into patches, and the
            pipeline does what it does outside training.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point, of known height and width.

    Output shape:
        `(batch, rows, columns, patch height, patch width, channels)`, float32.

    Raises:
        TypeError: if `pipeline` holds anything but Keras layers, or `size` is not of integers.
        ValueError: if patches are larger than the images.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> views = augment.PatchViews(64, 32, [augment.RandomColorDrop(), augment.ColorJitter(0.4)])
    >>> views(np.zeros((2, 256, 256, 3), "uint8")).shape
    TensorShape([2, 7, 7, 64, 64, 3])

    Reference:
        - [Hénaff et al., Data-Efficient Image Recognition with Contrastive Predictive
          Coding](https://arxiv.org/abs/1905.09272)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        strides: int | tuple[int, int] | None = None,
        pipeline: keras.layers.Layer | Sequence[keras.layers.Layer] = (),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        size = checks.image_size("size", size)
        if strides is None:
            strides = tuple(max(1, side // 2) for side in size)
        # the pipeline casts the patches to float32
        self.grid = PatchGrid(size, checks.image_size("strides", strides), autocast=False)
        if not isinstance(pipeline, FusedPipeline):
            pipeline = FusedPipeline(pipeline)
        self.pipeline = pipeline

    @property
    def uniforms_per_image(self) -> int:
        """Random numbers of the pipeline per patch."""
        return self.pipeline.uniforms_per_image

    @property
    def keeps_range(self) -> bool:
        """Whether the pipeline does."""
        return self.pipeline.keeps_range

    def value_ranges(self, inputs: Any) -> list:
        """Those of the pipeline."""
        return self.pipeline.value_ranges(inputs)

    def build(self, input_shape: tuple) -> None:
        """Build the pipeline for patches."""
        check_rank(self, input_shape)
        if not self.pipeline.built:
            self.pipeline.build((None, *self.grid.compute_output_shape(input_shape)[3:]))
        self.built = True

    def parameters(self, uniforms: Any, image_shape: tuple) -> list:
        """Parameters of the pipeline, one set per patch."""
        return self.pipeline.parameters(uniforms, image_shape)

    def draw(self, inputs: Any, seed: keras.random.SeedGenerator | None = None) -> Any:
        """Draw one set of parameters per patch."""
        return super().draw(self._patches(inputs), seed)

    def apply(self, images: Any, parameters: list) -> Any:
        """Cut the images and augment the patches with given parameters."""
        return self._as_grid(self.pipeline.apply(self._patches(images), parameters), images)

    def at_inference(self, inputs: Any) -> Any:
        """Cut the images, and do what the pipeline does outside training."""
        return self._as_grid(self.pipeline.at_inference(self._patches(inputs)), inputs)

    def _patches(self, images: Any) -> Any:
        """All patches as one batch, those of an image next to each other."""
        grid = self.grid(images)
        return ops.reshape(grid, (-1, *grid.shape[3:]))

    def _as_grid(self, patches: Any, images: Any) -> Any:
        rows, columns = self.grid.compute_output_shape(images.shape)[1:3]
        return ops.reshape(patches, (-1, rows, columns, *patches.shape[1:]))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Shape of the grid, with patches as the pipeline returns them."""
        check_rank(self, input_shape)
        batch, rows, columns, *patch = self.grid.compute_output_shape(tuple(input_shape))
        return (batch, rows, columns, *self.pipeline.compute_output_shape((None, *patch))[1:])

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "size": self.grid.size,
            "strides": self.grid.strides,
            "pipeline": keras.saving.serialize_keras_object(self.pipeline),
        }

    @classmethod
    def from_config(cls, config: dict) -> "PatchViews":
        """Make the views from the result of `get_config`."""
        pipeline = keras.saving.deserialize_keras_object(config["pipeline"])
        return cls(**{**config, "pipeline": pipeline})
