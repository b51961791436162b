"""Group normalization with activation and modulation, against Keras and float64."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the loops are TensorFlow's"
)
to_numpy = ops.convert_to_numpy


class TestConformance(TestCase):
    def test_layer(self):
        self.run_layer_test(
            layers.GroupNormalization,
            init_kwargs={"groups": 2, "epsilon": 1e-3, "activation": "silu"},
            input_shape=(2, 3, 4, 6),
            expected_output_shape=(2, 3, 4, 6),
            expected_num_trainable_weights=2,
        )


def test_equals_keras(rng):
    for arguments in ({}, {"scale": False, "center": False}):
        x = rng.normal(3, 2, (2, 3, 5, 8)).astype("float32")
        ours = layers.GroupNormalization(4, 1e-3, **arguments)
        theirs = keras.layers.GroupNormalization(4, epsilon=1e-3, **arguments)
        for layer in (ours, theirs):
            layer.build(x.shape)
        for own, other in zip(ours.weights, theirs.weights, strict=True):
            own.assign(rng.normal(size=own.shape))
            other.assign(own)
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def formula(x, dy, gamma, beta, groups, epsilon, with_silu):
    """Output and gradients in float64; gamma and beta `(batch, channels)`."""
    x, dy, gamma, beta = (np.float64(one) for one in (x, dy, gamma, beta))
    batch, channels = x.shape[0], x.shape[-1]

    def mean(values):
        grouped = values.reshape(batch, -1, groups, channels // groups)
        means = grouped.mean(axis=(1, 3))
        return np.repeat(means, channels // groups, axis=-1)[:, None, None]

    x = x - mean(x)
    factor = 1 / np.sqrt(mean(x**2) + epsilon)
    x_hat = x * factor
    y = x_hat * gamma[:, None, None] + beta[:, None, None]
    if with_silu:
        sigmoid = 1 / (1 + np.exp(-y))
        dy, y = dy * sigmoid * (1 + y * (1 - sigmoid)), y * sigmoid
    d = dy * gamma[:, None, None]
    dx = factor * (d - mean(d) - x_hat * mean(d * x_hat))
    return y, dx, (dy * x_hat).sum(axis=(1, 2)), dy.sum(axis=(1, 2))


@only_tensorflow
@pytest.mark.parametrize(
    ("dtype", "activation", "tolerance"),
    [("float32", "silu", 2e-5), ("float32", None, 2e-5), ("mixed_bfloat16", "silu", 2e-2)],
)
def test_a_training_step_equals_the_formula(dtype, activation, tolerance, rng):
    """In a graph, where XLA compiles both passes, and eagerly; the mean is far from 0."""
    import tensorflow as tf

    layer = layers.GroupNormalization(4, 1e-3, activation, dtype=dtype)
    layer.build((None, 16, 16, 16))
    for weight in layer.weights:
        weight.assign(rng.normal(1, 0.3, weight.shape))
    x = tf.constant(rng.normal(30, 1, (2, 16, 16, 16)), layer.compute_dtype)
    dy = tf.constant(rng.normal(size=x.shape), layer.compute_dtype)
    modulation = [tf.constant(rng.normal(size=(2, 16)), layer.compute_dtype) for _ in range(2)]

    def run(x, dy, scale, shift):
        with tf.GradientTape() as tape:
            tape.watch([x, scale, shift])
            y = layer(x, scale, shift, training=True)
        sources = [x, scale, shift, *(weight.value for weight in layer.weights)]
        return y, *tape.gradient(y, sources, output_gradients=dy)

    compiled = tf.function(run, autograph=False)
    graph = compiled.get_concrete_function(x, dy, *modulation).graph
    assert any("PartitionedCall" in one.type for one in graph.get_operations())
    gamma, beta = (np.float64(to_numpy(weight)) for weight in layer.weights)
    scale, shift = (np.float64(one) for one in modulation)
    arguments = (gamma * (1 + scale), beta * (1 + scale) + shift, 4, 1e-3, activation == "silu")
    y, dx, dgamma, dbeta = formula(x, dy, *arguments)
    dscale = dgamma * gamma + dbeta * beta
    sums = [(one * (1 + scale)).sum(axis=0) for one in (dgamma, dbeta)]
    for found in (compiled(x, dy, *modulation), run(x, dy, *modulation)):
        for one, expected in zip(found, (y, dx, dscale, dbeta, *sums), strict=True):
            close = tolerance * np.abs(expected).max()
            np.testing.assert_allclose(np.float64(one), expected, rtol=tolerance, atol=close)


@only_tensorflow
def test_second_derivatives_of_a_training_step(rng):
    import tensorflow as tf

    layer = layers.GroupNormalization(2, activation="silu")
    layer.build((None, 16, 16, 16))
    x, direction = (tf.constant(rng.normal(size=(1, 16, 16, 16)), "float32") for _ in range(2))

    def penalty(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                total = tf.reduce_sum(layer(x, training=True) ** 2)
            slope = inner.gradient(total, x)
            value = tf.reduce_sum(slope * direction)
        return slope, outer.gradient(value, x)

    _, found = tf.function(penalty, autograph=False)(x)
    step = 1e-2
    ahead, behind = (penalty(x + sign * step * direction)[0] for sign in (1, -1))
    expected = (ahead - behind) / (2 * step)  # the second derivative is symmetric
    assert np.corrcoef(np.ravel(found), np.ravel(expected))[0, 1] > 0.999
    np.testing.assert_allclose(np.linalg.norm(found), np.linalg.norm(expected), rtol=1e-2)


def test_another_axis_raises():
    with pytest.raises(ValueError, match=r"`axis` must be -1.*Received"):
        layers.GroupNormalization(2, axis=1)
