"""Checks of what is known only when a step runs."""

from typing import Any

import tensorflow as tf
from keras import ops

from keras_ssl import distribute


def assert_batch_size(x: Any, minimum: int, message: str) -> None:
    """Let a step fail whose batch is too small, or of another size on another replica.

    XLA leaves such checks out.

    Args:
        x: this replica's tensor, whose batch size is not known when the step is traced.
        minimum: the fewest examples on all replicas.
        message: what the error says.

    Raises:
        tf.errors.InvalidArgumentError: in the step.
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
    """Return indices as int32; the step fails if one is out of range, unless XLA runs it.

    Args:
        index: integers.
        size: the first integer that is too large.
        message: what the error says.

    Returns:
        int32 tensor.
    """
    index = ops.cast(index, "int32")
    if not tf.is_tensor(index):
        return index
    inside = tf.reduce_all((index >= 0) & (index < size))
    check = tf.debugging.Assert(inside, [message, index])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(index)
