"""The batches of any data, outside of a training step."""

from collections.abc import Iterator
from typing import Any

import keras

if keras.backend.backend() == "jax":
    from keras_ssl.trainers.engine.jax._array_batches import ArrayBatches

    _batches_of = ArrayBatches
else:
    from keras_ssl.trainers.engine.tensorflow.array_batches import array_batches

    _batches_of = array_batches


def input_batches(x: Any, batch_size: int) -> Iterator[Any]:
    """Yield `x` of each batch of data, labels left aside.

    Args:
        x: structure of arrays or tensors; or an iterable of batches of `x` or `(x, y)`, such as a
            `tf.data.Dataset` or a `keras.utils.PyDataset`.
        batch_size: examples per batch of arrays.
    """
    leaves = keras.tree.flatten(x)
    if all(hasattr(one, "shape") and hasattr(one, "dtype") for one in leaves):
        yield from _batches_of(x, batch_size)
        return
    numbers = range(len(x)) if isinstance(x, keras.utils.PyDataset) else None
    for batch in x if numbers is None else (x[number] for number in numbers):
        inputs = keras.utils.unpack_x_y_sample_weight(batch)[0]
        yield keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
