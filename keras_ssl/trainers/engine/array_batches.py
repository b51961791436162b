"""Arrays as a pipeline of batches that are gathered whole."""

from typing import Any

import keras
import tensorflow as tf


def array_batches(
    data: Any,
    batch_size: int,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Make batches of arrays: one gather of rows a batch and array.

    Every pass over the dataset shuffles anew. Which orders come one after the other is told by
    `seed` and TensorFlow's global seed, so that equal seeds on several workers give equal batches.

    Args:
        data: nested structure of NumPy arrays or tensors of equal length. Lists become tuples, as
            Keras makes of them. Floats become `keras.config.floatx()`, as Keras' `fit` does.
        batch_size: examples a batch.
        shuffle: whether to shuffle all examples before every pass.
        seed: integer seed of the shuffle.
        drop_remainder: whether to leave out the examples that fill no whole batch.

    Returns:
        A `tf.data.Dataset`. The batch size of its elements is static if all batches are full.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.trainers.engine.array_batches import array_batches
    >>> dataset = array_batches((np.arange(5), np.ones((5, 2))), batch_size=2)
    >>> [x.numpy().tolist() for x, _ in dataset]
    [[0, 1], [2, 3], [4]]
    """
    # tensors, since a NumPy array used in `map` would be copied anew for every batch; on the host,
    # where the pipeline runs
    with tf.device("CPU:0"):
        held = keras.tree.map_structure(_as_tensor, keras.tree.lists_to_tuples(data))
    examples = keras.tree.flatten(held)[0].shape[0]
    rows = tf.data.Dataset.range(examples)
    if shuffle:
        rows = rows.shuffle(examples, seed, reshuffle_each_iteration=True)
    # all full: then the size is static, which XLA likes
    rows = rows.batch(batch_size, drop_remainder or examples % batch_size == 0)
    dataset = rows.map(
        lambda these: keras.tree.map_structure(lambda array: tf.gather(array, these), held),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def _as_tensor(array: Any) -> tf.Tensor:
    tensor = tf.convert_to_tensor(array)
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor
