"""What replicas must agree on when one of them overflows in float16."""

from typing import Any

import keras
import tensorflow as tf

from keras_ssl.distribute.replicas import all_reduce_sum, replica_count


def spread_overflow(optimizer: keras.optimizers.Optimizer, gradients: list[Any]) -> list[Any]:
    """Make scaled gradients finite on all replicas, or on none.

    Keras' `LossScaleOptimizer` leaves out a step whose gradients overflowed. Each replica holds
    gradients of its own there, which are summed later, and Keras asks the first replica alone: an
    overflow on another one then reaches the weights of all. Here a replica that overflowed makes
    one gradient of every replica not a number, so that all leave the step out.

    Args:
        optimizer: what will apply the gradients; only a `LossScaleOptimizer` needs this.
        gradients: this replica's, as `tf.GradientTape` gave them: tensors, `tf.IndexedSlices` or
            `None`.

    Returns:
        The gradients, the same but for an overflow elsewhere.

    Example:

    >>> import keras
    >>> from keras_ssl.distribute.overflow import spread_overflow
    >>> spread_overflow(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), [None])
    [None]
    """
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or replica_count() == 1:
        return gradients
    present = [number for number, one in enumerate(gradients) if one is not None]
    finite = [tf.reduce_all(tf.math.is_finite(_values(gradients[number]))) for number in present]
    if not finite:
        return gradients
    overflowed = all_reduce_sum(tf.cast(~tf.reduce_all(tf.stack(finite)), "float32"))
    addend = tf.where(overflowed > 0, float("nan"), 0.0)
    gradients = list(gradients)
    gradients[present[0]] = _add(gradients[present[0]], addend)
    return gradients


def _values(gradient: Any) -> Any:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _add(gradient: Any, addend: Any) -> Any:
    values = _values(gradient)
    values = values + tf.cast(addend, values.dtype)
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return values
