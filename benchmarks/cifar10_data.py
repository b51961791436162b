"""CIFAR-10 in memory, as all sides of a benchmark read it."""

import numpy as np
import tensorflow as tf

import keras_ssl


def read(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` images of a split, and their labels, as arrays."""
    data = keras_ssl.data.load_images("cifar10", split).take(count).batch(count)
    images, labels = next(data.as_numpy_iterator())
    return images, labels


def shuffled_batches(arrays: tuple[np.ndarray, ...], batch_size: int) -> tf.data.Dataset:
    """Batches in a new order each epoch, the incomplete one dropped.

    Batches are gathered whole, as `fit` does with arrays.

    Args:
        arrays: one array, or several of the same length, such as images and labels.
        batch_size: examples in a batch.

    Returns:
        A dataset of tensors where there is one array, else of tuples.
    """
    count = len(arrays[0])
    held = [tf.constant(array) for array in arrays]  # arrays would be copied into the graph
    order = tf.data.Dataset.range(count).shuffle(count).batch(batch_size, drop_remainder=True)
    batches = order.map(lambda rows: tuple(tf.gather(array, rows) for array in held))
    if len(arrays) == 1:
        batches = batches.map(lambda images: images)
    return batches.prefetch(tf.data.AUTOTUNE)
