"""Checks of values that are known only when a step runs; XLA skips them."""

from typing import Any

import tensorflow as tf
from keras import ops

from keras_ssl import distribute


def assert_batch_size(x: Any, minimum: int, message: str) -> None:
    """Make a step fail if its batch is too small, or replicas have batches of different sizes.

    Args:
        x: this replica's tensor, whose batch size is not known when the step is traced.
        minimum: the fewest examples over all replicas.
        message: message of the error, a `tf.errors.InvalidArgumentError` raised by the step.
    """
    if not tf.is_tensor(x):
        return
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


def assert_in_range(index: Any, size: int, message: str) -> Any:
    """Return integers as int32, and make the step fail unless all are in [0, size)."""
    index = ops.cast(index, "int32")
    if not tf.is_tensor(index):
        return index
    inside = tf.reduce_all((index >= 0) & (index < size))
    check = tf.debugging.Assert(inside, [message, index])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(index)
