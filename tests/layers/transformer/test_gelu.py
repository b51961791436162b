"""The exact GELU in a training step: SciPy's normal distribution, derivatives, precision."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.stats import norm

from keras_ssl import layers
from keras_ssl.layers.transformer._gelu import gelu

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the gradient is TensorFlow's"
)
SHAPES = {"compiled": (2, 32, 128), "small": (2, 3, 5), "features": (7, 5)}


def step(x, dy, dtype, approximate=False):
    import tensorflow as tf

    def run(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = gelu(x, True, approximate)
        return y, tape.gradient(y, x, output_gradients=dy)

    x, dy = (tf.cast(one, dtype) for one in (x, dy))
    return [np.asarray(ops.cast(one, "float64")) for one in tf.function(run)(x, dy)], run(x, dy)


@only_tensorflow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float64", 1e-7), ("float32", 2e-6), ("bfloat16", 1e-2), ("float16", 1e-3)],
)
def test_value_and_gradient_are_those_of_the_normal_distribution(shape, dtype, tolerance, rng):
    x, dy = rng.normal(0, 3, shape), rng.normal(size=shape)
    found, eager = step(x, dy, dtype)
    x, dy = (np.float64(ops.convert_to_numpy(ops.cast(one, dtype))) for one in (x, dy))
    expected = [x * norm.cdf(x), dy * (norm.cdf(x) + x * norm.pdf(x))]
    close = {"rtol": tolerance, "atol": tolerance}
    for ours, also, formula in zip(found, eager, expected, strict=True):
        np.testing.assert_allclose(ours, formula, **close)
        np.testing.assert_allclose(ops.cast(also, "float64"), formula, **close)


@only_tensorflow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_by_a_hyperbolic_tangent(shape, rng):
    x, dy = rng.normal(0, 3, shape), rng.normal(size=shape)
    found, eager = step(x, dy, "float32", approximate=True)
    scale, cube = np.sqrt(2 / np.pi), 0.044715
    t = np.tanh(scale * (x + cube * x**3))
    slope = (1 + t) / 2 + x / 2 * (1 - t**2) * scale * (1 + 3 * cube * x**2)
    for ours, also, formula in zip(found, eager, [x * (1 + t) / 2, dy * slope], strict=True):
        np.testing.assert_allclose(ours, formula, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(also, formula, rtol=1e-5, atol=1e-5)


@only_tensorflow
@pytest.mark.parametrize("approximate", [False, True])
def test_far_numbers_are_finite(approximate):
    x = np.resize([0.0, 1e4, -1e4, 1e30, -1e30, np.inf], (2, 32, 128))
    (y, dx), _ = step(x, np.ones_like(x), "float32", approximate)
    np.testing.assert_allclose(y[0, 0, :6], [0, 1e4, 0, 1e30, 0, np.inf], rtol=1e-6)
    np.testing.assert_allclose(dx[0, 0, :5], [0.5, 1, 0, 1, 0], atol=1e-6)


@only_tensorflow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_second_derivative(shape, rng):
    import tensorflow as tf

    @tf.function
    def second(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = gelu(x, True)
            slope = inner.gradient(y, x)
        return outer.gradient(slope, x)

    x = rng.normal(size=shape)
    expected = norm.pdf(x) * (2 - x**2)
    np.testing.assert_allclose(second(tf.constant(x, "float32")), expected, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_the_network_uses_it_where_keras_would_be_exact(training, rng):
    x = rng.normal(size=(2, 32, 64)).astype("float32")
    for activation in ("gelu", keras.activations.gelu, "gelu_tanh", "quick_gelu", "relu"):
        keras.utils.set_random_seed(0)
        network = layers.FeedForward(64, activation)
        found = ops.convert_to_numpy(network(x, training=training))
        hidden = np.float64(ops.convert_to_numpy(network.hidden(x)))
        active = np.maximum(hidden, 0) if activation == "relu" else hidden * norm.cdf(hidden)
        if activation == "gelu_tanh":
            active = (
                hidden / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
            )
        if activation == "quick_gelu":
            active = hidden / (1 + np.exp(-1.702 * hidden))
        if activation in ("gelu_tanh", "quick_gelu"):
            assert network.get_config()["activation"] == activation
        expected = active @ np.float64(ops.convert_to_numpy(network.outputs.kernel))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
