"""Steps of `fit`, `evaluate` and `predict` where several replicas or workers take them.

Keras 3 cannot reduce logs between workers: it takes their mean over an axis that scalars do not
have ([keras issue 20585](https://github.com/keras-team/keras/issues/20585)). Logs as one tensor of
shape `(1, logs)` come out of it as `(logs,)`.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def data_first(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a step that begins when its batch has been read.

    TensorFlow runs what does not depend on the batch at once: it counts the optimizer's iteration
    and the examples of a mean, moves a teacher, draws from a seed. Where a dataset does not tell
    its length, Keras finds the end of an epoch by a step that gets no batch, and all of these have
    then happened once too often: the mean loss of five batches is divided by six.

    Args:
        step: function of a batch, to be traced.

    Returns:
        A function of a batch that does the same, each operation after all tensors of the batch.
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
    """Make a step of all replicas whose logs are those of all workers.

    Args:
        make_function: Keras' function that makes a step on all replicas of one on one replica.
        step_function: function of a replica's batch that returns logs.

    Returns:
        A function of an iterator that returns logs.
    """
    names = None

    @functools.wraps(step_function)
    def step(data: Any) -> Any:
        nonlocal names
        logs = step_function(data)
        names = keras.tree.map_structure(lambda value: None, logs)
        values = [tf.cast(value, "float32") for value in keras.tree.flatten(logs)]
        return tf.stack(values)[tf.newaxis]  # together: one exchange instead of one per value

    reduced = make_function(step)

    def one_step(iterator: Any) -> Any:
        values = tf.unstack(reduced(iterator))  # the first call traces `step`, which sets `names`
        return keras.tree.pack_sequence_as(names, values)

    return one_step


def one_after_the_other(model: keras.Model, one_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Execute the steps of `steps_per_execution` singly.

    TensorFlow cannot exchange tensors between replicas inside the loop that Keras makes of them.

    Args:
        model: the model that takes the steps.
        one_step: function of an iterator that takes one step.

    Returns:
        A function of an iterator that takes `model.steps_per_execution` steps.
    """

    def steps(iterator: Any) -> Any:
        count = model.steps_per_execution
        if not isinstance(iterator, tf.distribute.DistributedIterator):
            return one_step(iterator)  # `train_on_batch`: there is one batch
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
