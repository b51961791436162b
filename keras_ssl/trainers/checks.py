"""Checks of what the data holds, shared by the trainers and run before the first step."""

from typing import Any

import keras
import tensorflow as tf


def _describe(x: Any) -> str:
    return str(keras.tree.map_structure(lambda v: f"{v.dtype}{tuple(v.shape)}", x))


def check_image_views(views: Any, count: int, minimum_batch: int = 1) -> None:
    """Raise unless `views` are `count` batches of images of one shape.

    Args:
        views: what the augmentation or the data gave.
        count: how many views the method compares.
        minimum_batch: how many examples the method needs in a batch.

    Raises:
        ValueError: if the number of views, their rank, or their shapes are wrong, or the batch is
            known to be too small. A batch whose size is only known at run time is checked then.
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
            f"Expected {count} views of every image. Received: {len(views)} views, {_describe(views)}"
        )
    for view in views:
        if len(view.shape) != 4:
            raise ValueError(
                "Expected views of shape (batch, height, width, channels). "
                f"Received: {_describe(views)}"
            )
        dtype = keras.backend.standardize_dtype(view.dtype)
        if not (keras.backend.is_float_dtype(dtype) or keras.backend.is_int_dtype(dtype)):
            raise TypeError(f"Expected images of numbers. Received: {_describe(views)}")
        if tuple(view.shape[1:]) != tuple(views[0].shape[1:]):
            raise ValueError(f"Expected views of one shape. Received: {_describe(views)}")
    check_batch_size(views[0], minimum_batch)


def check_batch_size(x: Any, minimum: int) -> None:
    """Raise if a batch is known to hold fewer than `minimum` examples.

    Args:
        x: tensor with the batch axis first.
        minimum: the smallest batch that the method can learn from.

    Raises:
        ValueError: if the static batch size is too small.
    """
    size = x.shape[0]
    if size is not None and size < minimum:
        raise ValueError(
            f"Expected at least {minimum} examples in a batch: the method compares each with the "
            f"others. Received: a batch of {size}"
        )


def assert_batch_size(x: Any, minimum: int) -> None:
    """Stop the run if a batch whose size is not static holds fewer than `minimum` examples.

    Args:
        x: tensor with the batch axis first.
        minimum: the smallest batch that the method can learn from.
    """
    if x.shape[0] is None and minimum > 1:
        tf.debugging.assert_greater_equal(
            tf.shape(x)[0],
            minimum,
            f"Expected at least {minimum} examples in a batch: the method compares each with the "
            "others. Use `drop_remainder=True`, or a larger `batch_size`.",
        )
