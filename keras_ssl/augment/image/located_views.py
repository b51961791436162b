"""Views of images, with the box of the image that each shows."""

from typing import Any

import keras
from keras import ops

from keras_ssl.augment._view_generator import ViewGenerator
from keras_ssl.augment.augmentation import Augmentation
from keras_ssl.augment.image._ragged import is_ragged
from keras_ssl.augment.image.color import ColorAugmentation
from keras_ssl.augment.image.fused_pipeline import FusedPipeline
from keras_ssl.augment.image.gaussian_blur import GaussianBlur
from keras_ssl.augment.image.geometry import AxisMaps
from keras_ssl.augment.image.image_augmentation import float32_spec
from keras_ssl.augment.image.random_horizontal_flip import RandomHorizontalFlip
from keras_ssl.augment.image.random_patch_mask import RandomPatchMask
from keras_ssl.augment.image.random_resized_crop import RandomResizedCrop
from keras_ssl.augment.image.random_solarize import RandomSolarize

_STAY_IN_PLACE = (ColorAugmentation, GaussianBlur, RandomPatchMask, RandomSolarize)


@keras.saving.register_keras_serializable(package="keras_ssl")
class LocatedViews(Augmentation):
    """Views of each image, each with the box of the image that it shows.

    For methods that match positions of views by where they lie in the image, such as VICRegL. The
    views are those that `views` makes. A box is the place of the view's left upper and right lower
    corner in the image; a flipped view has its left corner right of its right one.

    Args:
        views: layer that makes views, such as `keras_ssl.augment.SimCLRViews`,
            `keras_ssl.augment.MultiCropViews` or `keras_ssl.augment.AsymmetricViews`. In each view,
            one `RandomResizedCrop` comes before any `RandomHorizontalFlip`, and all other layers
            are layers of this package that leave pixels where they are.
        seed: integer seed, or `None` for a random one. That of `views` has no effect.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to augment; with `False` each view is the whole image, resized.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point.

    Output shape:
        Tuple of one dictionary per view: "image", float32, as `views` makes it, and "box",
        `(batch, 4)`, float32: top, left, bottom and right, in pixels of the image.

    Raises:
        TypeError: if `views` does not make views of images.
        ValueError: if it cannot be told where a view lies, or images are a ragged batch.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> views = augment.LocatedViews(augment.SimCLRViews(24, scale=(0.25, 0.25), ratio=(1, 1)))
    >>> first, second = views(np.zeros((8, 32, 32, 3), "uint8"))
    >>> first["image"].shape, first["box"].shape
    (TensorShape([8, 24, 24, 3]), TensorShape([8, 4]))
    >>> top, left, bottom, right = np.transpose(first["box"])
    >>> [float(height) for height in np.round(bottom - top)[:2]]
    [16.0, 16.0]

    Reference:
        - [Bardes et al., VICRegL](https://arxiv.org/abs/2210.01571)
    """

    def __init__(self, views: keras.layers.Layer, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        pipelines = views.pipelines if isinstance(views, ViewGenerator) else [None]
        if not all(isinstance(one, FusedPipeline) for one in pipelines):
            raise TypeError(
                "`views` must make views of images, as `keras_ssl.augment.SimCLRViews` does. "
                f"Received: {views!r}"
            )
        for pipeline in pipelines:
            _check_layers(pipeline.layers)
        self.views = views

    def build(self, input_shape: Any) -> None:
        """Build the pipelines."""
        if not self.views.built:
            self.views.build(input_shape)
        self.built = True

    def value_ranges(self, inputs: Any) -> list:
        """Those of the views."""
        return self.views.value_ranges(inputs)

    def check_inputs(self, inputs: Any) -> None:
        """Raise unless the inputs are images of one size."""
        if is_ragged(inputs):
            raise ValueError(
                "`inputs` must be a dense batch: images of one size. For images of many sizes, "
                "call the layer on each (`image[None]`) in `tf.data`. Received: a ragged batch"
            )
        self.views.check_inputs(inputs)

    def draw(self, inputs: Any, seed: keras.random.SeedGenerator | None = None) -> list:
        """Draw the parameters of each view."""
        return self.views.draw(inputs, self.seed_generator if seed is None else seed)

    def apply(self, inputs: Any, parameters: list) -> tuple:
        """Make the views with given parameters, and their boxes."""
        image_shape = tuple(ops.shape(inputs)[1:])
        boxes = [
            _box_of(pipeline.layers, drawn, image_shape)
            for pipeline, drawn in zip(self.views.pipelines, parameters, strict=True)
        ]
        return _located(self.views.apply(inputs, parameters), boxes)

    def at_inference(self, inputs: Any) -> tuple:
        """The views outside training, which show the whole image."""
        views = self.views.at_inference(inputs)
        batch, height, width = ops.shape(inputs)[:3]
        zero = ops.zeros((batch,), "float32")
        box = ops.stack([zero, zero, zero + height, zero + width], axis=-1)
        return _located(views, [box] * len(views))

    def compute_output_shape(self, input_shape: Any) -> tuple:
        """A dictionary of two shapes per view."""
        shapes = self.views.compute_output_shape(input_shape)
        return _located(shapes, [(input_shape[0], 4)] * len(shapes))

    def compute_output_spec(self, inputs: Any, training: bool = True) -> tuple:
        """Shapes and dtypes of views and boxes, for symbolic calls."""
        self.check_inputs(inputs)
        shapes = self.compute_output_shape(inputs.shape)
        return tuple({key: float32_spec(shape) for key, shape in one.items()} for one in shapes)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "views": keras.saving.serialize_keras_object(self.views)}

    @classmethod
    def from_config(cls, config: dict) -> "LocatedViews":
        """Make the views from the result of `get_config`."""
        return cls(**{**config, "views": keras.saving.deserialize_keras_object(config["views"])})


def _located(images: Any, boxes: Any) -> tuple:
    pairs = zip(images, boxes, strict=True)
    return tuple({"image": image, "box": box} for image, box in pairs)


def _check_layers(layers: list) -> None:
    """Raise unless the box of a view follows from a crop and the flips after it."""
    moving = [layer for layer in layers if not isinstance(layer, _STAY_IN_PLACE)]
    kinds = [RandomResizedCrop, *[RandomHorizontalFlip] * (len(moving) - 1)]
    if not moving or any(type(one) is not kind for one, kind in zip(moving, kinds, strict=True)):
        raise ValueError(
            "Each view of `views` must have one `RandomResizedCrop`, after it any "
            "`RandomHorizontalFlip`, and no other layer that may move pixels. "
            f"Received: {[type(layer).__name__ for layer in layers]}"
        )


def _box_of(layers: list, parameters: list, image_shape: tuple) -> Any:
    """Return the box of each image that a view shows, `(batch, 4)`."""
    maps = AxisMaps()
    for layer, drawn in zip(layers, parameters, strict=True):
        if not isinstance(layer, _STAY_IN_PLACE):
            maps = layer.fold(maps, drawn, image_shape)
    ends = [(axis.start, axis.start + axis.length) for axis in maps]
    return ops.stack([*(start for start, _ in ends), *(end for _, end in ends)], axis=-1)
