"""GELU, exact and by a hyperbolic tangent, with gradients of their own; CLIP's by a sigmoid."""

import math
from typing import Any

import keras

from keras_ssl.layers._compiled import compiled, is_worth_compiling

_TANH_SCALE, _TANH_CUBE = math.sqrt(2.0 / math.pi), 0.044715


@keras.saving.register_keras_serializable(package="keras_ssl")
def gelu_tanh(x: Any) -> Any:
    """Return the GELU as GPT-2 has it: by a hyperbolic tangent in place of the error function."""
    return keras.activations.gelu(x, approximate=True)


@keras.saving.register_keras_serializable(package="keras_ssl")
def quick_gelu(x: Any) -> Any:
    """Return the GELU as CLIP has it: by a sigmoid in place of the error function."""
    return x * keras.ops.sigmoid(1.702 * x)


# names that Keras lacks
_OWN = {"gelu_tanh": gelu_tanh, "quick_gelu": quick_gelu}


def get_activation(activation: Any) -> Any:
    """Return an activation function, by a name that Keras has or lacks."""
    if isinstance(activation, str) and activation in _OWN:
        return _OWN[activation]
    return keras.activations.get(activation)


def serialize_activation(activation: Any) -> Any:
    """Return what `get_activation` makes the function of."""
    own = [name for name, function in _OWN.items() if function is activation]
    return own[0] if own else keras.activations.serialize(activation)


def gelu(x: Any, training: bool | None, approximate: bool = False) -> Any:
    """Return the GELU: `x` times the probability that a normal number is below `x`.

    The probability is exact, or approximated by a hyperbolic tangent. TensorFlow keeps all its
    intermediate results for the gradient. Here the gradient is computed from `x` alone, in float32;
    in a training step on CPU XLA makes one loop of each pass (see `is_worth_compiling`), which
    takes a quarter of the time. Without training, and in float64, this is the function of Keras.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    if not training or keras.backend.backend() != "tensorflow" or dtype == "float64":
        return keras.activations.gelu(x, approximate=approximate)
    import tensorflow as tf

    forward, backward = (_tanh_forward, _tanh_backward) if approximate else (_forward, _backward)
    if is_worth_compiling(x, training):
        forward, backward = compiled(forward), compiled(backward)

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


def _tanh(z: Any) -> tuple[Any, Any]:
    """Return the hyperbolic tangent, and `z` up to where it is 1 in float32."""
    import tensorflow as tf

    near = tf.clip_by_value(z, -6.0, 6.0)
    t = tf.tanh(_TANH_SCALE * (near + _TANH_CUBE * near * near * near))
    # XLA's ends at 0.9999998, which would be multiplied by a number of any size
    return tf.where(tf.abs(z) < 6.0, t, tf.sign(z)), near


def _tanh_forward(x: Any) -> Any:
    import tensorflow as tf

    z = tf.cast(x, "float32")
    return tf.cast(0.5 * z * (1.0 + _tanh(z)[0]), x.dtype)


def _tanh_backward(x: Any, dy: Any) -> Any:
    import tensorflow as tf

    z = tf.cast(x, "float32")
    t, near = _tanh(z)
    inner = _TANH_SCALE * (1.0 + 3.0 * _TANH_CUBE * near * near)
    slope = 0.5 * (1.0 + t) + 0.5 * near * (1.0 - t * t) * inner
    return tf.cast(tf.cast(dy, "float32") * slope, x.dtype)
