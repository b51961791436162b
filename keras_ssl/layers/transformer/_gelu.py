"""The exact GELU with a gradient of its own."""

import math
from typing import Any

import keras

from keras_ssl.layers._compiled import compiled, is_worth_compiling


def gelu(x: Any, training: bool | None) -> Any:
    """Return the exact GELU: `x` times the probability that a normal number is below `x`.

    TensorFlow keeps all its intermediate results for the gradient. Here the gradient is computed
    from `x` alone, in float32; in a training step on CPU XLA makes one loop of each pass (see
    `is_worth_compiling`), which takes a quarter of the time. Without training, and in float64, this
    is the function of Keras.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    if not training or keras.backend.backend() != "tensorflow" or dtype == "float64":
        return keras.activations.gelu(x)
    import tensorflow as tf

    forward, backward = _forward, _backward
    if is_worth_compiling(x, training):
        forward, backward = compiled(_forward), compiled(_backward)

    @tf.custom_gradient
    def activate(x: Any) -> Any:
        return forward(x), lambda dy: backward(x, dy)

    return activate(x)


def _probability(z: Any) -> Any:
    import tensorflow as tf

    probability = 0.5 * tf.math.erf(z * math.sqrt(0.5)) + 0.5
    # XLA's erf ends at -0.9999998, which would be multiplied by a number of any size
    return tf.where(z > -5.5, probability, tf.zeros_like(z))


def _forward(x: Any) -> Any:
    import tensorflow as tf

    z = tf.cast(x, "float32")
    return tf.cast(z * _probability(z), x.dtype)


def _backward(x: Any, dy: Any) -> Any:
    import tensorflow as tf

    z = tf.cast(x, "float32")
    density = tf.exp(-0.5 * tf.square(z)) * (1.0 / math.sqrt(2.0 * math.pi))
    slope = _probability(z) + z * density
    return tf.cast(tf.cast(dy, "float32") * slope, x.dtype)
