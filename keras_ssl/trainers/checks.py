"""Checks of what the data holds, shared by the trainers and run before the first step."""

import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ssl import distribute


def _describe(x: Any) -> str:
    return str(keras.tree.map_structure(lambda v: f"{v.dtype}{tuple(v.shape)}", x))


def check_type(name: str, part: Any, kind: type) -> None:
    """Raise unless a part of a trainer is of its kind.

    Args:
        name: the constructor's argument.
        part: what it got.
        kind: the Keras class that it must be an instance of.

    Raises:
        TypeError: if it is not.
    """
    if not isinstance(part, kind):
        raise TypeError(
            f"`{name}` must be a Keras {kind.__name__}. Received: {part} of type {type(part)}"
        )


def check_features(features: Any) -> None:
    """Raise unless an encoder gives one vector an example.

    Args:
        features: what the encoder gave.

    Raises:
        ValueError: if it is not of rank 2.
    """
    if len(features.shape) != 2:
        raise ValueError(
            "`encoder` must give features of shape (batch, features); end it with pooling or "
            f"flattening. Received: features of shape {tuple(features.shape)}"
        )


def check_prediction(prediction: Any, target: Any) -> None:
    """Raise unless a predictor gives vectors as wide as those that it predicts.

    Args:
        prediction: what the predictor gave, `(batch, dim)`.
        target: what it predicts, the projector's output, `(batch, dim)`.

    Raises:
        ValueError: if their widths differ.
    """
    if len(prediction.shape) != len(target.shape) or prediction.shape[-1] != target.shape[-1]:
        raise ValueError(
            "`predictor` must give vectors as wide as those of `projector`, which it predicts. "
            f"Received: predictions of shape {tuple(prediction.shape)} and projections of shape "
            f"{tuple(target.shape)}"
        )


def check_image_views(views: Any, count: int) -> None:
    """Raise unless `views` are `count` batches of images of one shape.

    Args:
        views: what the augmentation or the data gave.
        count: how many views the method compares.

    Raises:
        ValueError: if the number of views, their rank, or their shapes are wrong.
        TypeError: if the images are not numbers.
    """
    if not isinstance(views, (tuple, list)):
        raise ValueError(
            f"Expected a tuple of {count} views of every image. Pass `augment=` to the trainer, or "
            "let the data hold ready views: `((view_1, view_2), y)`, or `((view_1, view_2),)` "
            f"without labels. Received: one tensor, {_describe(views)}"
        )
    if len(views) != count:
        raise ValueError(
            f"Expected {count} views of every image. "
            f"Received: {len(views)} views, {_describe(views)}"
        )
    _check_images(views)
    if any(tuple(view.shape[1:]) != tuple(views[0].shape[1:]) for view in views):
        raise ValueError(f"Expected views of one shape. Received: {_describe(views)}")


def check_crops(views: Any, global_count: int, input_shape: Any = None) -> None:
    """Raise unless `views` are global views of one size, then local ones that are no larger.

    Args:
        views: what the augmentation or the data gave.
        global_count: how many of the views are global.
        input_shape: what the encoder takes, where it is known.

    Raises:
        ValueError: if there are too few views, global ones differ in shape, local ones are
            larger, or the encoder cannot take both sizes.
        TypeError: if the images are not numbers.
    """
    if not isinstance(views, (tuple, list)):
        raise ValueError(
            f"Expected a tuple of views of every image, {global_count} global ones and any number "
            "of local ones. Pass `augment=keras_ssl.augment.MultiCropViews(...)` to the trainer, "
            f"or let the data hold ready views. Received: one tensor, {_describe(views)}"
        )
    if len(views) < max(2, global_count):
        raise ValueError(
            f"Expected at least {max(2, global_count)} views of every image, the first "
            f"{global_count} of them global. Received: {len(views)} views, {_describe(views)}"
        )
    _check_images(views)
    first, *others = [tuple(view.shape[1:]) for view in views]
    if any(shape != first for shape in others[: global_count - 1]):
        raise ValueError(
            f"Expected {global_count} global views of one shape. Received: {_describe(views)}"
        )
    if any(shape[-1] != first[-1] for shape in others):
        raise ValueError(f"Expected views of one number of channels. Received: {_describe(views)}")
    pairs = [pair for shape in others for pair in zip(first, shape, strict=True)]
    if any(None not in pair and pair[1] > pair[0] for pair in pairs):
        raise ValueError(
            "Local views, which show a small part of the image, must be no larger than the "
            f"{global_count} global ones before them. Received: {_describe(views)}"
        )
    fixed = input_shape[1:-1] if isinstance(input_shape, tuple) and len(input_shape) == 4 else ()
    for shape in {first, *others}:
        if any(want not in (None, size) for want, size in zip(fixed, shape, strict=False)):
            raise ValueError(
                "`encoder` must take views of all sizes: build it for images of "
                f"(None, None, {first[-1]}). Received: an encoder for {tuple(input_shape[1:])} and "
                f"views {_describe(views)}"
            )


def _check_images(views: Any) -> None:
    for view in views:
        if len(view.shape) != 4:
            raise ValueError(
                "Expected views of shape (batch, height, width, channels). "
                f"Received: {_describe(views)}"
            )
        dtype = keras.backend.standardize_dtype(view.dtype)
        if not (keras.backend.is_float_dtype(dtype) or keras.backend.is_int_dtype(dtype)):
            raise TypeError(f"Expected images of numbers. Received: {_describe(views)}")


def check_one_batch(views: Any) -> None:
    """Raise unless `views` is one batch, for methods that see each example once.

    Args:
        views: what the augmentation or the data gave.

    Raises:
        ValueError: if it is a structure of several tensors.
    """
    if isinstance(views, (tuple, list, dict)):
        raise ValueError(
            "Expected one batch of input, and an `augment` that gives one, such as "
            f"`keras_ssl.augment.RandomResizedCrop`. Received: {_describe(views)}"
        )


def check_batch_size(x: Any, minimum: int, replicas: int = 1) -> None:
    """Raise if a batch holds fewer examples than the method needs.

    A size that is known when the step is traced is checked then. One that is not is checked in
    the step itself; XLA leaves that check out.

    Args:
        x: tensor or `keras.KerasTensor` with the batch axis first: one replica's share.
        minimum: the smallest batch, over all replicas, that the method can learn from.
        replicas: how many replicas share the batch.

    Raises:
        ValueError: if the batch is known to be too small.
        tf.errors.InvalidArgumentError: if it turns out to be, in a step.
    """
    message = (
        f"Expected at least {minimum} examples in a batch: the method compares each with the "
        "others. Use a larger batch size, and `drop_remainder=True` if the last batch is short."
    )
    size = x.shape[0]
    if size is not None and size * replicas < minimum:
        raise ValueError(f"{message} Received: a batch of {size * replicas}")
    if size is None and tf.is_tensor(x):
        shares = distribute.all_gather(tf.shape(x)[:1])
        if minimum > 1:
            tf.debugging.assert_greater_equal(tf.reduce_sum(shares), minimum, message)
        if distribute.replica_count() > 1:
            tf.debugging.assert_equal(
                tf.reduce_min(shares),
                tf.reduce_max(shares),
                "Replicas got batches of different sizes. Use `drop_remainder=True`, and a batch "
                "size that is divisible by the number of replicas.",
            )


def check_remainder(x: Any, batch_size: int | None, minimum: int) -> None:
    """Raise if the last batch of arrays would be too small to learn from.

    Args:
        x: what `fit` got; anything but arrays is passed over.
        batch_size: examples a batch; `None` is Keras' 32.
        minimum: the smallest batch that the method can learn from.

    Raises:
        ValueError: if the last batch has fewer examples.
    """
    leaves = keras.tree.flatten(x)
    if not leaves or not all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves):
        return
    remainder = leaves[0].shape[0] % (batch_size or 32)
    if 0 < remainder < minimum:
        raise ValueError(
            f"The last batch would hold fewer than {minimum} examples, and the method compares "
            "each with the others. Leave some out or choose another batch size. "
            f"Received: {leaves[0].shape[0]} examples and batch_size={batch_size or 32}"
        )


def warn_of_scale(x: Any, augment: Any) -> None:
    """Warn if arrays are images in [0, 1] and the augmentation expects a wider range.

    Args:
        x: what `fit` got; anything but one NumPy array of floats is passed over.
        augment: the trainer's augmentation.
    """
    value_range = getattr(augment, "settings", {}).get("value_range")
    is_images = isinstance(x, np.ndarray) and x.ndim == 4 and x.dtype.kind == "f" and x.size
    if is_images and value_range is not None and value_range[1] > 2 and x[:256].max() <= 1:
        warnings.warn(
            f"`x` holds values of at most 1, and `augment` expects them in {tuple(value_range)}. "
            "Pass images as they are, 0 to 255, or `value_range=(0, 1)` to the augmentation and "
            "an encoder that takes that scale (`include_rescaling=False` in `networks`).",
            stacklevel=3,
        )
