"""Image sets in memory, for all libraries of a benchmark."""

from typing import Any

import numpy as np
import tensorflow as tf

import keras_ssl


def read(name: str, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` images of a split of a set, and their labels, as arrays."""
    data = keras_ssl.data.load_images(name, split).take(count).batch(count)
    images, labels = next(data.as_numpy_iterator())
    return images, labels


def shuffled_batches(arrays: Any, batch_size: int) -> tf.data.Dataset:
    """Batches in a new order each epoch, the incomplete one dropped.

    Batches are gathered whole, as `fit` does with arrays.

    Args:
        arrays: an array, or a tuple or dictionary of arrays of one length.
        batch_size: examples in a batch.

    Returns:
        A dataset of tensors in the structure of `arrays`.
    """
    held = tf.nest.map_structure(tf.constant, arrays)  # arrays would be copied into the graph
    count = len(tf.nest.flatten(held)[0])
    order = tf.data.Dataset.range(count).shuffle(count).batch(batch_size, drop_remainder=True)
    batches = order.map(lambda rows: tf.nest.map_structure(lambda x: tf.gather(x, rows), held))
    return batches.prefetch(tf.data.AUTOTUNE)
