"""Checks of what the data holds, shared by the trainers and run before the first step."""

from typing import Any

import keras
import tensorflow as tf


def _describe(x: Any) -> str:
    return str(keras.tree.map_structure(lambda v: f"{v.dtype}{tuple(v.shape)}", x))


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
    if size is None and minimum > 1 and tf.is_tensor(x):
        tf.debugging.assert_greater_equal(tf.shape(x)[0] * replicas, minimum, message)
