"""Step functions of `fit`, `evaluate` and `predict` for several replicas or workers.

Keras 3 cannot reduce logs between workers: it takes their mean over an axis that scalars do not
have ([keras issue 20585](https://github.com/keras-team/keras/issues/20585)). Logs as one tensor of
shape `(1, logs)` become `(logs,)` by it.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def data_first(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a step run all its operations after its batch has been read.

    TensorFlow runs operations that do not depend on the batch at once: it increments the iteration
    of the optimizer, updates teachers, draws random numbers. If a dataset does not know its length,
    Keras finds the end of an epoch by a step that gets no batch, and all of these would happen
    once too often: the sum of five losses would be divided by six.
    """

    @functools.wraps(step)
    def step_after_data(data: Any) -> Any:
        leaves = tf.nest.flatten(data, expand_composites=True)
        with tf.control_dependencies([leaf for leaf in leaves if tf.is_tensor(leaf)]):
            return step(data)

    return step_after_data


def reduced_over_workers(
    make_function: Callable, step_function: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """Make a function of an iterator that takes a step on all workers and returns mean logs.

    Args:
        make_function: `Model._make_function`, which turns a step of one replica into one of all.
        step_function: function of a replica's batch that returns logs.
    """
    names = None

    @functools.wraps(step_function)
    def step(data: Any) -> Any:
        nonlocal names
        logs = step_function(data)
        names = keras.tree.map_structure(lambda value: None, logs)
        values = [tf.cast(value, "float32") for value in keras.tree.flatten(logs)]
        return tf.stack(values)[tf.newaxis]  # one exchange instead of one per value

    reduced = make_function(step)

    def one_step(iterator: Any) -> Any:
        values = tf.unstack(reduced(iterator))  # the first call sets `names`
        return keras.tree.pack_sequence_as(names, values)

    return one_step


def one_after_the_other(model: keras.Model, one_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a function of an iterator that takes `model.steps_per_execution` steps one by one.

    TensorFlow cannot exchange tensors between replicas inside the loop that Keras would use.
    """

    def steps(iterator: Any) -> Any:
        count = model.steps_per_execution
        if not isinstance(iterator, tf.distribute.DistributedIterator):
            return one_step(iterator)  # one batch, of `train_on_batch`
        model.steps_per_execution = 1
        logs = None
        try:
            for _ in range(count):
                logs = one_step(iterator)
        except (StopIteration, tf.errors.OutOfRangeError):
            if logs is None:
                raise
        finally:
            model.steps_per_execution = count
        return logs

    return steps
