"""Views that each have a pipeline of their own."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.augment.view_generator import (
    ViewGenerator,
    as_pipeline,
    deserialize_pipeline,
    serialize_pipeline,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class AsymmetricViews(ViewGenerator):
    """Make one view of each image by each of several pipelines.

    BYOL blurs its first view always and its second rarely, and solarises only the second; this is
    how such settings are written.

    Args:
        pipelines: one for each view: a `FusedPipeline` (from `simclr_pipeline` or your own), a
            Keras layer, or a list of Keras layers.
        seed: integer seed of the layers of this room; others have their own.
        **kwargs: `name` and the like, as in `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to augment.

    Input shape:
        `(batch, height, width, channels)`, integer or floating.

    Output shape:
        Tuple of one tensor a pipeline, float32.

    Raises:
        TypeError: when a part of a pipeline is no Keras layer.
        ValueError: when there is no pipeline.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> byol = augment.AsymmetricViews(
    ...     [
    ...         augment.simclr_pipeline(32, blur_probability=1.0),
    ...         augment.simclr_pipeline(32, blur_probability=0.1, solarize_probability=0.2),
    ...     ]
    ... )
    >>> len(byol(np.zeros((8, 32, 32, 3), "uint8")))
    2

    Reference:
        - [Grill et al., BYOL](https://arxiv.org/abs/2006.07733), appendix B
    """

    def __init__(self, pipelines: Sequence[Any], seed: int | None = None, **kwargs: Any):
        if not isinstance(pipelines, list | tuple) or not pipelines:
            raise ValueError(
                "`pipelines` must be a list of at least one pipeline, one for each view. "
                f"Received: pipelines={pipelines!r}"
            )
        super().__init__([as_pipeline(each) for each in pipelines], seed=seed, **kwargs)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        pipelines = [serialize_pipeline(each) for each in self.pipelines]
        return {**super().get_config(), "pipelines": pipelines}

    @classmethod
    def from_config(cls, config: dict) -> "AsymmetricViews":
        """Make the views from `get_config`'s answer."""
        pipelines = [deserialize_pipeline(each) for each in config["pipelines"]]
        return cls(**{**config, "pipelines": pipelines})
