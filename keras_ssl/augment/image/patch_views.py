"""Images as grids of patches, each patch augmented on its own."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image._checks import check_rank
from keras_ssl.augment.image.augmentation import Augmentation
from keras_ssl.augment.image.fused_pipeline import FusedPipeline
from keras_ssl.augment.view_generator import (
    as_pipeline,
    deserialize_pipeline,
    serialize_pipeline,
)
from keras_ssl.layers import PatchGrid


@keras.saving.register_keras_serializable(package="keras_ssl")
class PatchViews(Augmentation):
    """Cut images into overlapping patches and augment each patch with random numbers of its own.

    The views of CPC: patches of one image differ in colour, so that what neighbours share is
    their content. Outside training the patches come as the pipeline leaves them at rest.

    Args:
        size: an integer, or a pair (height, width): that of a patch.
        strides: an integer or a pair: how far the next patch begins. `None` means half of `size`.
        pipeline: a Keras layer or a list of them, applied to the patches; by default none.
        seed: integer seed of the layers of this room; others have their own.
        **kwargs: `name` and the like, as in `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to augment.

    Input shape:
        `(batch, height, width, channels)`, integer or floating, of known height and width.

    Output shape:
        `(batch, rows, columns, patch height, patch width, channels)`, float32.

    Raises:
        TypeError: when a part of the pipeline is no Keras layer, or a size is no integer.
        ValueError: when patches are larger than the images.

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
        # patches are of the images' dtype: the pipeline casts them
        self.grid = PatchGrid(size, checks.image_size("strides", strides), autocast=False)
        self.pipeline: FusedPipeline = as_pipeline(pipeline)

    @property
    def uniforms_per_image(self) -> int:
        """What the pipeline needs a patch."""
        return self.pipeline.uniforms_per_image

    def build(self, input_shape: tuple) -> None:
        """Build the pipeline for patches."""
        check_rank(self, input_shape)
        if not self.pipeline.built:
            self.pipeline.build((None, *self.grid.compute_output_shape(input_shape)[3:]))
        self.built = True

    def parameters(self, uniforms: Any, image_shape: tuple) -> list:
        """The parameters of the pipeline, one set a patch."""
        return self.pipeline.parameters(uniforms, image_shape)

    def draw(self, images: Any) -> Any:
        """Draw one set of parameters a patch."""
        return super().draw(self._patches(images))

    def apply(self, images: Any, parameters: list) -> Any:
        """Cut the images and augment the patches with given parameters."""
        return self._as_grid(self.pipeline.apply(self._patches(images), parameters), images)

    def rest(self, images: Any) -> Any:
        """The patches, with what the pipeline does outside training."""
        return self._as_grid(self.pipeline.rest(self._patches(images)), images)

    def _patches(self, images: Any) -> Any:
        """All patches as one batch, those of an image together."""
        grid = self.grid(images)
        return ops.reshape(grid, (-1, *grid.shape[3:]))

    def _as_grid(self, patches: Any, images: Any) -> Any:
        rows, columns = self.grid.compute_output_shape(images.shape)[1:3]
        return ops.reshape(patches, (-1, rows, columns, *patches.shape[1:]))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The grid, with patches as the pipeline leaves them."""
        check_rank(self, input_shape)
        batch, rows, columns, *patch = self.grid.compute_output_shape(tuple(input_shape))
        return (batch, rows, columns, *self.pipeline.compute_output_shape((None, *patch))[1:])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "size": self.grid.size,
            "strides": self.grid.strides,
            "pipeline": serialize_pipeline(self.pipeline),
        }

    @classmethod
    def from_config(cls, config: dict) -> "PatchViews":
        """Make the views from `get_config`'s answer."""
        return cls(**{**config, "pipeline": deserialize_pipeline(config["pipeline"])})
