"""Arrays as a `tf.data` pipeline that gathers a whole batch at once."""

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
    """Make a dataset of batches from a structure of arrays or tensors of equal length.

    As in Keras' `fit`, lists become tuples and floats `keras.config.floatx()`. Every pass over the
    dataset is shuffled anew, in orders that depend only on `seed` and TensorFlow's global seed.
    """
    # tensors, since `map` would copy a NumPy array for every batch; on the host, where it runs
    with tf.device("CPU:0"):
        held = keras.tree.map_structure(_as_tensor, keras.tree.lists_to_tuples(data))
    examples = keras.tree.flatten(held)[0].shape[0]
    rows = tf.data.Dataset.range(examples)
    if shuffle:
        rows = rows.shuffle(examples, seed, reshuffle_each_iteration=True)
    # the batch size is static if all batches are full, which XLA needs
    rows = rows.batch(batch_size, drop_remainder or examples % batch_size == 0)
    dataset = rows.map(
        lambda index: keras.tree.map_structure(lambda array: tf.gather(array, index), held),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def _as_tensor(array: Any) -> tf.Tensor:
    tensor = tf.convert_to_tensor(array)
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor
