"""Base of the layers that make several views of a batch."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl.augment.augmentation import Augmentation
from keras_ssl.augment.image._ragged import is_ragged, transform_ragged
from keras_ssl.augment.image.fused_pipeline import FusedPipeline
from keras_ssl.augment.image.image_augmentation import (
    ImageAugmentation,
    check_images,
    check_rank,
    float32_spec,
)
from keras_ssl.augment.pipeline import Pipeline, as_layers


class ViewGenerator(Augmentation):
    """One view of each example by each of several pipelines.

    Where all pipelines are of images, all their random numbers come from one draw.

    Args:
        pipelines: the layers, each of which makes a view.
        seed: integer seed of the random numbers, or `None`.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.
    """

    def __init__(self, pipelines: Sequence[Any], seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.pipelines = list(pipelines)

    @property
    def _of_images(self) -> bool:
        return all(isinstance(pipeline, FusedPipeline) for pipeline in self.pipelines)

    def build(self, input_shape: Any) -> None:
        """Build the pipelines."""
        if self._of_images:
            check_rank(self, input_shape)
        for pipeline in self.pipelines:
            if not pipeline.built:
                pipeline.build(input_shape)
        self.built = True

    def value_ranges(self, inputs: Any) -> list:
        """Those of all pipelines."""
        distinct = {id(pipeline): pipeline for pipeline in self.pipelines}.values()
        return [one for pipeline in distinct for one in pipeline.value_ranges(inputs)]

    def check_inputs(self, inputs: Any) -> None:
        """Raise unless the inputs are images, where all pipelines are of images."""
        if self._of_images:
            check_images(self, inputs)

    def draw(self, inputs: Any, seed: keras.random.SeedGenerator | None = None) -> list:
        """Draw the parameters of each view; only for pipelines of images."""
        if not self._of_images:
            raise NotImplementedError(
                "`draw` and `apply` need pipelines of images, for which all random numbers can be "
                f"drawn at once. Call the layer instead. Received: pipelines={self.pipelines}"
            )
        batch, *image_shape = ops.shape(inputs)
        uniforms = self.uniform((batch, self.uniforms_per_image), seed)
        return self.parameters(uniforms, tuple(image_shape))

    @property
    def uniforms_per_image(self) -> int:
        """Sum over the views; only for pipelines of images."""
        return sum(pipeline.uniforms_per_image for pipeline in self.pipelines)

    def parameters(self, uniforms: Any, image_shape: tuple) -> list:
        """Turn uniform random numbers into the parameters of each view."""
        parameters, used = [], 0
        for pipeline in self.pipelines:
            own = uniforms[:, used : used + pipeline.uniforms_per_image]
            parameters.append(pipeline.parameters(own, image_shape))
            used += pipeline.uniforms_per_image
        return parameters

    def apply(self, inputs: Any, parameters: list) -> tuple:
        """Make the views with given parameters."""
        return tuple(
            pipeline.apply(inputs, drawn)
            for pipeline, drawn in zip(self.pipelines, parameters, strict=True)
        )

    def at_inference(self, inputs: Any) -> tuple:
        """The views outside training; those of one pipeline are equal and computed once."""
        views = {id(each): each.transform(inputs, training=False) for each in self.pipelines}
        return tuple(views[id(each)] for each in self.pipelines)

    def transform(self, inputs: Any, training: bool, seed: Any = None) -> tuple:
        """Make the views, with random numbers from one generator."""
        if self._of_images and is_ragged(inputs):
            self.check_inputs(inputs)
            return transform_ragged(self, inputs, training, seed)
        if self._of_images or not training:
            return super().transform(inputs, training, seed)
        seed = self.seed_generator if seed is None else seed
        return tuple(pipeline.transform(inputs, training, seed) for pipeline in self.pipelines)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        """One shape, or structure of shapes, per view."""
        return tuple(pipeline.compute_output_shape(input_shape) for pipeline in self.pipelines)

    def compute_output_spec(self, inputs: Any, training: bool = True) -> tuple:
        """Shapes and dtypes of the views, for symbolic calls."""
        if not self._of_images:
            return super().compute_output_spec(inputs, training)
        self.check_inputs(inputs)
        return float32_spec(self.compute_output_shape(inputs.shape))


def as_pipeline(layers: Any) -> Augmentation:
    """A layer or a list of layers as a pipeline: a `FusedPipeline` if any of them is of images."""
    if isinstance(layers, FusedPipeline | Pipeline):
        return layers
    layers = as_layers(layers)
    if any(isinstance(layer, ImageAugmentation) for layer in layers):
        return FusedPipeline(layers)
    return Pipeline(layers)


def as_pipelines(pipelines: Sequence[Any]) -> list[Augmentation]:
    """Pipelines for views of one kind: if one of them is of images, all are."""
    pipelines = [as_pipeline(each) for each in pipelines]
    if not any(isinstance(each, FusedPipeline) for each in pipelines):
        return pipelines
    return [
        each if isinstance(each, FusedPipeline) else FusedPipeline(each.layers)
        for each in pipelines
    ]
