"""The first batch of data, to check its values."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_ssl._tensorflow import is_dataset


def first_inputs(data: Any) -> Any:
    """Return `x` of the first batch of a dataset, and arrays as they are.

    Returns `None` for a generator, which would lose that batch, and for distributed datasets.
    """
    if is_dataset(data):
        for element in data.take(1):
            return keras.utils.unpack_x_y_sample_weight(element)[0]
        return None
    if isinstance(data, keras.utils.PyDataset):
        return keras.utils.unpack_x_y_sample_weight(data[0])[0] if len(data) else None
    leaves = keras.tree.flatten(data)
    are_arrays = leaves and all(hasattr(x, "shape") and hasattr(x, "dtype") for x in leaves)
    return data if are_arrays else None


def peek(generator: Iterator) -> tuple[Any, Iterator]:
    """Return the first element of a generator, `None` if there is none, and all of its elements."""
    elements = list(itertools.islice(generator, 1))

    def again() -> Iterator:
        yield from elements
        yield from generator

    return (elements[0] if elements else None), again()


def look_at_first_batch(epochs: Any, look: Callable[[Any], None]) -> None:
    """Call a function on the first batch that Keras' iterator of epochs yields, before its step.

    Reading the batch beforehand, by `dataset.take(1)`, would fill shuffle buffers twice, change the
    order of a seeded shuffle and lose a batch of a generator. Here Keras' own iterator yields it,
    and the step gets it from another iterator of the same type, so that nothing is traced anew.
    Iterators of several replicas are left alone. This uses the private name
    `TFEpochIterator._enumerate_iterator`, as `epochs.py` does.

    Args:
        epochs: Keras' iterator of the epochs of one `fit`.
        look: function of the batch, a structure of eager tensors.
    """
    keras_steps, is_pending = epochs._enumerate_iterator, True

    def steps() -> Iterator[tuple[int, int, Any]]:
        nonlocal is_pending
        for first, last, batches in keras_steps():
            if is_pending:
                is_pending = False
                batches = _looked_at(batches, epochs.steps_per_execution, look)
            yield first, last, batches

    epochs._enumerate_iterator = steps


def _looked_at(batches: Any, count: int, look: Callable[[Any], None]) -> Any:
    """Return an iterator of the next batches, which are taken from `batches`, after a look."""
    if keras.backend.backend() == "jax":
        taken = list(itertools.islice(batches, count))
        if taken:
            look(taken[0])
        return iter(taken)
    return _looked_at_tensors(batches, count, look)


def _looked_at_tensors(batches: Any, count: int, look: Callable[[Any], None]) -> Any:
    """Return an iterator of the type of `batches`, a `tf.data.Iterator`."""
    import tensorflow as tf

    spec = getattr(batches, "element_spec", None)
    if not isinstance(batches, tf.data.Iterator) or not all(
        isinstance(one, tf.TensorSpec) for one in keras.tree.flatten(spec)
    ):
        return batches
    taken = []
    again = tf.data.Dataset.from_generator(lambda: iter(taken), output_signature=spec)
    while len(taken) < count and (batch := next(batches, None)) is not None:
        taken.append(batch)
    if not taken:
        return batches
    look(taken[0])
    return iter(again)
