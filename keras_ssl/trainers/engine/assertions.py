"""Checks of values that are known only when a step runs.

XLA skips those in a step. On JAX, where XLA compiles every step, sizes are known when a step is
traced, and values are checked nowhere but in `fit`.
"""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl._tensorflow import is_dataset

_TENSORFLOW = keras.backend.backend() == "tensorflow"
if _TENSORFLOW:
    import tensorflow as tf


def too_small(minimum: int) -> str:
    """Return the message for a batch of fewer examples than a method needs."""
    return (
        f"Expected at least {minimum} examples in a batch: the method compares each with the "
        "others. Use a larger batch size, and `drop_remainder=True` if the last batch is short."
    )


def assert_batch_size(x: Any, minimum: int) -> None:
    """Make a step fail if its batch is too small, or replicas have batches of different sizes.

    Args:
        x: this replica's tensor, whose batch size is not known when the step is traced.
        minimum: the fewest examples over all replicas.
    """
    if not _TENSORFLOW or not tf.is_tensor(x):
        return
    shares = distribute.all_gather(tf.shape(x)[:1])
    if minimum > 1:
        tf.debugging.assert_greater_equal(tf.reduce_sum(shares), minimum, too_small(minimum))
    if distribute.replica_count() > 1:
        tf.debugging.assert_equal(
            tf.reduce_min(shares),
            tf.reduce_max(shares),
            "Replicas got batches of different sizes. Use `drop_remainder=True`, and a batch "
            "size that is divisible by the number of replicas.",
        )


def with_batch_sizes_checked(dataset: Any, minimum: int) -> Any:
    """Return a dataset that fails at a batch that is too small.

    Args:
        dataset: `tf.data.Dataset` of batches; others, and one of static batch sizes, stay as is.
        minimum: the fewest examples in a batch. Fewer are a `tf.errors.InvalidArgumentError`.

    Raises:
        ValueError: if the batches are ragged.
    """
    if not _TENSORFLOW or not is_dataset(dataset):
        return dataset
    specs = keras.tree.flatten(keras.utils.unpack_x_y_sample_weight(dataset.element_spec)[0])
    if any(isinstance(one, tf.RaggedTensorSpec) for one in specs):
        raise ValueError(
            "`x` must hold tensors of one shape per batch. Make the views of ragged batches in the "
            "data, `dataset.map(lambda x: (augment(x),))`, and pass `augment=None` to the trainer. "
            f"Received: {dataset.element_spec}"
        )
    if minimum < 2:
        return dataset
    first = specs[0]
    if not isinstance(first, tf.TensorSpec) or first.shape.rank == 0 or first.shape[0] is not None:
        return dataset

    def checked(*element: Any) -> Any:
        x = keras.utils.unpack_x_y_sample_weight(element)[0]
        size = tf.shape(keras.tree.flatten(x)[0])[0]
        is_enough = tf.debugging.assert_greater_equal(size, minimum, too_small(minimum))
        with tf.control_dependencies([is_enough]):
            kept = tf.nest.map_structure(
                lambda one: None if one is None else tf.identity(one),
                element,
                expand_composites=True,
            )
        return kept if isinstance(dataset.element_spec, tuple) else kept[0]

    return dataset.map(checked)


def assert_in_range(index: Any, size: int, message: str) -> Any:
    """Return integers as int32, and make the step fail unless all are in [0, size)."""
    index = ops.cast(index, "int32")
    if not _TENSORFLOW or not tf.is_tensor(index):
        return index
    inside = tf.reduce_all((index >= 0) & (index < size))
    check = tf.debugging.Assert(inside, [message, index])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(index)
