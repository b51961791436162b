"""Batches of a `tf.data.Dataset` that are made of the numbers of their examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.data._autotuning import without_autotuning

if TYPE_CHECKING:
    import tensorflow as tf


def shuffled(count: int, seed: int | None, stream: int = 0) -> tf.data.Dataset:
    """Return the numbers from 0 to `count` in a new order in each epoch.

    Args:
        count: how many numbers.
        seed: integer seed, or `None`.
        stream: which of several independent orders of the same seed.
    """
    import tensorflow as tf

    if seed is not None:
        # seeds of streams are far from each other, since users count seeds up
        seed = (checks.integer("seed", seed, minimum=0) + stream * 0x9E3779B1) % (2**63)
    return tf.data.Dataset.range(count).shuffle(count, seed=seed)


def in_order(count: int, shuffle: bool, seed: int | None) -> tf.data.Dataset:
    """Return the numbers from 0 to `count`, in order or shuffled in each epoch."""
    import tensorflow as tf

    return shuffled(count, seed) if shuffle else tf.data.Dataset.range(count)


def batched(
    numbers: tf.data.Dataset, to_batch: Any, batch_size: int, drop_remainder: bool
) -> tf.data.Dataset:
    """Return batches that a function makes of the numbers of their examples."""
    import tensorflow as tf

    batch_size = checks.integer("batch_size", batch_size, minimum=1)
    count = int(numbers.cardinality())
    if drop_remainder and batch_size > count:
        raise ValueError(
            f"`batch_size` must be at most the number of examples, {count}, with "
            f"`drop_remainder`. Received: batch_size={batch_size}"
        )
    batches = numbers.batch(batch_size, drop_remainder=bool(drop_remainder))
    batches = batches.map(to_batch, num_parallel_calls=tf.data.AUTOTUNE)
    return without_autotuning(batches.prefetch(tf.data.AUTOTUNE))
