"""Views of one pipeline, or of several."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.augment._view_generator import ViewGenerator, as_pipeline, as_pipelines


@keras.saving.register_keras_serializable(package="keras_ssl")
class Views(ViewGenerator):
    """Several views of each example by one pipeline, each view with its own random numbers.

    An example may be an image, a row of a table, a sequence, or any nested structure of tensors
    such as `{"token_ids": ..., "padding_mask": ...}`; a view then has that structure too. Layers
    that take one tensor are applied to one entry of it by `OnKey`.

    Args:
        pipeline: a Keras layer or a list of them: layers of this package, of Keras
            (`keras.layers.RandAugment`), of KerasCV, or your own.
        count: views per example.
        seed: integer seed of the layers of this package; others have their own seeds.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of examples.
        training: whether to augment.

    Input shape:
        What the pipeline takes. Images are `(batch, height, width, channels)`, integer or
        floating-point.

    Output shape:
        Tuple of `count` views; each is what the pipeline returns. Views of images are float32.

    Raises:
        TypeError: if `pipeline` holds anything but Keras layers.
        ValueError: if `count` is less than 1.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> views = augment.Views(
    ...     [augment.RandomResizedCrop(24), keras.layers.RandomFlip("horizontal")], count=3
    ... )
    >>> [view.shape[1:] for view in views(np.zeros((8, 32, 32, 3), "uint8"))]
    [TensorShape([24, 24, 3]), TensorShape([24, 24, 3]), TensorShape([24, 24, 3])]
    >>> views = augment.Views(augment.sequence.RandomTimeCrop(60))
    >>> first, second = views(np.zeros((8, 100, 3), "float32"))
    >>> first.shape
    TensorShape([8, 60, 3])
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
        """Arguments of the constructor."""
        pipeline = keras.saving.serialize_keras_object(self.pipelines[0])
        return {**super().get_config(), "pipeline": pipeline, "count": self.count}

    @classmethod
    def from_config(cls, config: dict) -> "Views":
        """Make the views from the result of `get_config`."""
        pipeline = keras.saving.deserialize_keras_object(config["pipeline"])
        return cls(**{**config, "pipeline": pipeline})


@keras.saving.register_keras_serializable(package="keras_ssl")
class AsymmetricViews(ViewGenerator):
    """One view of each example by each of several pipelines.

    BYOL blurs its first view always and its second rarely, and solarises only the second. SCARF
    corrupts one view and leaves the other as it is.

    Args:
        pipelines: one per view: a `FusedPipeline` (from `simclr_pipeline` or your own), a Keras
            layer, or a list of Keras layers; an empty list is a view without change.
        seed: integer seed of the layers of this package; others have their own seeds.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of examples: a tensor or a nested structure of them.
        training: whether to augment.

    Input shape:
        What all pipelines take. Images are `(batch, height, width, channels)`, integer or
        floating-point.

    Output shape:
        Tuple of one view per pipeline; each is what the pipeline returns. Views of images are
        float32.

    Raises:
        TypeError: if a pipeline holds anything but Keras layers.
        ValueError: if there is no pipeline.

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
    >>> scarf = augment.AsymmetricViews([augment.tabular.RandomFeatureCorruption(0.6), []])

    Reference:
        - [Grill et al., BYOL](https://arxiv.org/abs/2006.07733), appendix B
        - [Bahri et al., SCARF](https://arxiv.org/abs/2106.15147)
    """

    def __init__(self, pipelines: Sequence[Any], seed: int | None = None, **kwargs: Any):
        if not isinstance(pipelines, list | tuple) or not pipelines:
            raise ValueError(
                "`pipelines` must be a list of at least one pipeline, one for each view. "
                f"Received: pipelines={pipelines!r}"
            )
        super().__init__(as_pipelines(pipelines), seed=seed, **kwargs)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        pipelines = [keras.saving.serialize_keras_object(each) for each in self.pipelines]
        return {**super().get_config(), "pipelines": pipelines}

    @classmethod
    def from_config(cls, config: dict) -> "AsymmetricViews":
        """Make the views from the result of `get_config`."""
        pipelines = [keras.saving.deserialize_keras_object(each) for each in config["pipelines"]]
        return cls(**{**config, "pipelines": pipelines})
