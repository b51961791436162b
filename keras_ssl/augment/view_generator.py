"""The base of what makes several views of a batch."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.augment.image._checks import check_rank
from keras_ssl.augment.image.augmentation import Augmentation
from keras_ssl.augment.image.fused_pipeline import FusedPipeline


def as_pipeline(pipeline: Any) -> FusedPipeline:
    """A pipeline as it is; a layer or a list of layers as a pipeline."""
    return pipeline if isinstance(pipeline, FusedPipeline) else FusedPipeline(pipeline)


class ViewGenerator(Augmentation):
    """Make one view of each image by each of several pipelines.

    Args:
        pipelines: one `FusedPipeline` a view; the same one may stand there many times.
        seed: integer seed.
        **kwargs: `name` and the like, as in `keras.layers.Layer`.

    Call arguments:
        images: batch of images, `(batch, height, width, channels)`.
        training: whether to augment; with `False` the pipelines do what they do at rest.

    Output shape:
        Tuple of float32 batches, one a view.
    """

    def __init__(self, pipelines: Sequence[FusedPipeline], seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.pipelines = list(pipelines)

    @property
    def uniforms_per_image(self) -> int:
        """What the pipelines need together."""
        return sum(pipeline.uniforms_per_image for pipeline in self.pipelines)

    def build(self, input_shape: tuple) -> None:
        """Build the pipelines."""
        check_rank(self, input_shape)
        for pipeline in self.pipelines:
            if not pipeline.built:
                pipeline.build(input_shape)
        self.built = True

    def parameters(self, uniforms: Any, image_shape: tuple) -> list:
        """The parameters of each view's pipeline."""
        parameters, used = [], 0
        for pipeline in self.pipelines:
            stop = used + pipeline.uniforms_per_image
            parameters.append(pipeline.parameters(uniforms[:, used:stop], image_shape))
            used = stop
        return parameters

    def apply(self, images: Any, parameters: list) -> tuple:
        """Make the views with given parameters."""
        return tuple(
            pipeline.apply(images, drawn)
            for pipeline, drawn in zip(self.pipelines, parameters, strict=True)
        )

    def rest(self, images: Any) -> tuple:
        """The views at rest; views of one pipeline are then one tensor."""
        views = {id(pipeline): pipeline.rest(images) for pipeline in self.pipelines}
        return tuple(views[id(pipeline)] for pipeline in self.pipelines)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """One shape a view."""
        return tuple(pipeline.compute_output_shape(input_shape) for pipeline in self.pipelines)


def serialize_pipeline(pipeline: FusedPipeline) -> dict:
    """A pipeline as a configuration."""
    return keras.saving.serialize_keras_object(pipeline)


def deserialize_pipeline(config: Any) -> Any:
    """A pipeline from its configuration; anything else as it is."""
    return keras.saving.deserialize_keras_object(config) if isinstance(config, dict) else config
