"""Let a step change nothing before its batch is there."""

import functools
from collections.abc import Callable
from typing import Any

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
