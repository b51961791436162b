"""Layers on images, folded into as few passes as possible."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl.augment._value_range import keeps_range, ranges_of_chain
from keras_ssl.augment.image._compiled import call_compiled
from keras_ssl.augment.image.color import ColorAugmentation, ColorMap
from keras_ssl.augment.image.geometry import (
    AxisMaps,
    GeometricAugmentation,
    images_of,
    multiply_planes,
    planes_of,
)
from keras_ssl.augment.image.image_augmentation import ImageAugmentation, check_rank
from keras_ssl.augment.pipeline import as_layers, shape_after


@keras.saving.register_keras_serializable(package="keras_ssl")
class FusedPipeline(ImageAugmentation):
    """Layers on images applied one after another, with neighbouring linear maps folded into one.

    `keras.layers.Pipeline` calls its layers one by one. Here a run of geometric operations
    (crop, flip, blur) becomes two matrices per image, the run of colour operations (jitter,
    grayscale) that follows it becomes one affine map of colour, and both are applied at once:

        view = P (rows image columns^T) + shift

    All other layers, Keras' own and yours, are called in their place. Values are clipped once per
    run, at its end. All random numbers of image layers of this package come from one draw of the
    pipeline, so their own `seed` has no effect; other layers draw from their own seeds.

    Args:
        layers: a Keras layer or a list of them, each from a batch of images to a batch of images.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to augment.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point.

    Output shape:
        That behind the last layer, float32.

    Raises:
        TypeError: if `layers` holds anything but Keras layers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> pipeline = augment.FusedPipeline(
    ...     [augment.RandomResizedCrop(24), augment.RandomHorizontalFlip(), augment.Grayscale()]
    ... )
    >>> pipeline(np.zeros((8, 32, 32, 3), "uint8")).shape
    TensorShape([8, 24, 24, 3])
    """

    def __init__(
        self,
        layers: keras.layers.Layer | Sequence[keras.layers.Layer],
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.layers = as_layers(layers)

    @property
    def uniforms_per_image(self) -> int:
        """Sum over the image layers of this package."""
        return sum(_uniforms(layer) for layer in self.layers)

    def build(self, input_shape: tuple) -> None:
        """Build each layer for the shape that reaches it."""
        check_rank(self, input_shape)
        for layer, shape in zip(self.layers, self._shapes(tuple(input_shape)), strict=True):
            if not layer.built:
                layer.build((input_shape[0], *shape))
        self.built = True

    def parameters(self, uniforms: Any, image_shape: tuple) -> list:
        """Parameters of each layer; `None` for layers that draw from their own seeds."""
        parameters, used = [], 0
        for layer, shape in zip(self.layers, self._shapes((None, *image_shape)), strict=True):
            if isinstance(layer, ImageAugmentation):
                count = layer.uniforms_per_image
                parameters.append(layer.parameters(uniforms[:, used : used + count], shape))
                used += count
            else:
                parameters.append(None)
        return parameters

    def apply(self, images: Any, parameters: list) -> Any:
        """Apply the layers with given parameters."""
        for start, stop in self._runs():
            layers, drawn = self.layers[start:stop], parameters[start:stop]
            if _is_linear(layers[0]):
                images = _apply_linear(layers, images, drawn)
            elif isinstance(layers[0], ImageAugmentation):
                images = layers[0].finish(layers[0].apply(images, drawn[0]))
            else:
                images = layers[0](images)
        return ops.cast(images, "float32")

    def at_inference(self, inputs: Any) -> Any:
        """Apply what the layers do outside training."""
        for layer in self.layers:
            if isinstance(layer, ImageAugmentation):
                inputs = layer.at_inference(inputs)
            else:
                inputs = layer(inputs)
        return ops.cast(inputs, "float32")

    @property
    def keeps_range(self) -> bool:
        """Whether all layers do."""
        return all(keeps_range(layer) for layer in self.layers)

    def value_ranges(self, inputs: Any) -> list:
        """Those of the layers, up to the first that may change the range."""
        return ranges_of_chain(self.layers, inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Shape behind the last layer."""
        *_, last = [None, *self._shapes(tuple(input_shape), past_last=True)]
        return (input_shape[0], *last)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config: dict) -> "FusedPipeline":
        """Make the pipeline from the result of `get_config`."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})

    def _runs(self) -> list[tuple[int, int]]:
        """First and last layer of each run: geometry then colour, or a single other layer."""
        runs = []
        for index, layer in enumerate(self.layers):
            previous = self.layers[index - 1] if index else None
            joins = (isinstance(layer, ColorAugmentation) and _is_linear(previous)) or (
                isinstance(layer, GeometricAugmentation)
                and isinstance(previous, GeometricAugmentation)
            )
            if joins:
                runs[-1] = (runs[-1][0], index + 1)
            else:
                runs.append((index, index + 1))
        return runs

    def _shapes(self, input_shape: tuple, past_last: bool = False) -> list[tuple]:
        """The `(height, width, channels)` that reaches each layer."""
        shapes = [tuple(input_shape[1:])]
        for layer in self.layers if past_last else self.layers[:-1]:
            shapes.append(_image_shape_after(layer, shapes[-1]))
        return shapes[: len(self.layers) + past_last]  # without layers, only the output's


def _uniforms(layer: Any) -> int:
    return layer.uniforms_per_image if isinstance(layer, ImageAugmentation) else 0


def _is_linear(layer: Any) -> bool:
    return isinstance(layer, GeometricAugmentation | ColorAugmentation)


def _image_shape_after(layer: Any, image_shape: tuple) -> tuple:
    return tuple(shape_after(layer, (None, *image_shape))[1:])


def _apply_linear(layers: list, images: Any, parameters: list) -> Any:
    """Apply a run of geometric and then colour operations, and finish it.

    Colours are changed last, in the pass that transposes the planes to channels-last images.
    """
    image_shape = tuple(ops.shape(images)[1:])

    def fold(parameters: list) -> tuple:
        maps, color, shape = AxisMaps(), None, image_shape
        for layer, drawn in zip(layers, parameters, strict=True):
            if isinstance(layer, GeometricAugmentation):
                maps = layer.fold(maps, drawn, shape)
                shape = _image_shape_after(layer, shape)
            else:
                after = layer.color_map(drawn, shape[-1])
                color = after if color is None else color.then(after)
        return *maps.sides(), color

    def finish(planes: Any, color: ColorMap | None) -> Any:
        views = images_of(planes) if color is None else color.apply_to_planes(planes)
        for layer in layers:
            views = layer.finish(views)
        return views

    left, right, color = call_compiled(fold, parameters, image_shape=image_shape)
    planes = multiply_planes(left, planes_of(images), right)
    # a crop has given all views one size
    return call_compiled(finish, planes, color, image_shape=tuple(planes.shape[1:]))
