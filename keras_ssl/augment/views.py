"""Views of one pipeline of the user's."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.augment.view_generator import (
    ViewGenerator,
    as_pipeline,
    deserialize_pipeline,
    serialize_pipeline,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class Views(ViewGenerator):
    """Make several views of each image by one pipeline, each view with its own random numbers.

    Args:
        pipeline: a Keras layer or a list of them: of this room, of Keras
            (`keras.layers.RandAugment`), of KerasCV, or your own.
        count: views an image.
        seed: integer seed of the layers of this room; others have their own.
        **kwargs: `name` and the like, as in `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to augment.

    Input shape:
        `(batch, height, width, channels)`, integer or floating.

    Output shape:
        Tuple of `count` tensors, float32.

    Raises:
        TypeError: when a part of the pipeline is no Keras layer.
        ValueError: when `count` is less than 1.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> views = augment.Views(
    ...     [augment.RandomResizedCrop(24), keras.layers.RandomFlip("horizontal")], count=3
    ... )
    >>> [view.shape[1:] for view in views(np.zeros((8, 32, 32, 3), "uint8"))]
    [TensorShape([24, 24, 3]), TensorShape([24, 24, 3]), TensorShape([24, 24, 3])]
    """

    def __init__(
        self,
        pipeline: keras.layers.Layer | Sequence[keras.layers.Layer],
        count: int = 2,
        seed: int | None = None,
        **kwargs: Any,
    ):
        count = checks.integer("count", count, minimum=1)
        super().__init__([as_pipeline(pipeline)] * count, seed=seed, **kwargs)
        self.count = count

    def get_config(self) -> dict:
        """The constructor's arguments."""
        pipeline = serialize_pipeline(self.pipelines[0])
        return {**super().get_config(), "pipeline": pipeline, "count": self.count}

    @classmethod
    def from_config(cls, config: dict) -> "Views":
        """Make the views from `get_config`'s answer."""
        return cls(**{**config, "pipeline": deserialize_pipeline(config["pipeline"])})
