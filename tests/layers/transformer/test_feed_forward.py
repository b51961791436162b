"""Feed-forward networks, DropPath and LayerScale: float64 formulas and statistics."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers
from tests.distribute.test_replicas import run_on_replicas

to_numpy = ops.convert_to_numpy


class TestConformance(TestCase):
    def check(self, layer, weights, seeds=0, output=(3, 5, 6), **arguments):
        self.run_layer_test(
            layer,
            init_kwargs=arguments,
            input_shape=(3, 5, 6),
            expected_output_shape=output,
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=0,
            expected_num_seed_generators=seeds,
            supports_masking=True,
        )

    def test_feed_forward(self):
        self.check(layers.FeedForward, 4, hidden_dim=8, activation="relu")
        arguments = {"output_dim": 4, "dropout_rate": 0.1, "use_bias": False}
        self.check(layers.FeedForward, 2, 1, (3, 5, 4), hidden_dim=8, **arguments)

    def test_gated(self):
        self.check(layers.FeedForward, 4, hidden_dim=8, activation="silu", gated=True)

    def test_drop_path(self):
        self.run_layer_test(
            layers.DropPath,
            init_kwargs={"rate": 0.3, "seed": 1},
            input_shape=(3, 5),
            expected_output_shape=(3, 5),
            expected_num_seed_generators=1,
            supports_masking=True,
            run_training_check=False,
        )

    def test_layer_scale(self):
        self.check(layers.LayerScale, 1, initial_value=0.1)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


@pytest.mark.parametrize("use_bias", [True, False])
def test_networks_equal_their_formulas(use_bias, rng):
    x = rng.normal(size=(2, 3, 6))
    for activation, gated in ((gelu, False), (silu, True)):
        layer = layers.FeedForward(8, activation.__name__, gated=gated, use_bias=use_bias)
        layer.build(x.shape)
        layer.set_weights([rng.normal(size=one.shape) for one in layer.weights])
        weights = [np.float64(one) for one in layer.get_weights()]
        first, second = (weights[0], weights[-2]) if use_bias else weights
        offsets = (weights[1], weights[3]) if use_bias else (0.0, 0.0)
        h = x @ first + offsets[0]
        h = activation(h[..., :8]) * h[..., 8:] if gated else activation(h)
        np.testing.assert_allclose(
            to_numpy(layer(x)), h @ second + offsets[1], rtol=2e-3, atol=1e-4
        )


def test_kernels_start_as_if_each_were_alone():
    initializer = keras.initializers.GlorotUniform(seed=1)
    layer = layers.FeedForward(64, "silu", gated=True, kernel_initializer=initializer)
    layer.build((None, 64))
    gate, values = np.split(to_numpy(layer.hidden.kernel), 2, axis=1)
    limit = math.sqrt(6 / 128)
    for kernel in (gate, values):
        assert 0.95 * limit < np.abs(kernel).max() <= limit
    assert abs(np.corrcoef(gate.ravel(), values.ravel())[0, 1]) < 0.1


def test_dropout_acts_on_the_hidden_layer_in_training():
    layer = layers.FeedForward(
        400, "linear", dropout_rate=0.25, kernel_initializer="ones", use_bias=False, seed=0
    )
    x = np.ones((50, 1), "float32")
    np.testing.assert_allclose(to_numpy(layer(x)), 400, rtol=1e-5)
    drawn = to_numpy(layer(x, training=True)) * 0.75  # the number of kept units
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-2)
    assert abs(drawn.mean() - 300) < 6 * math.sqrt(400 * 0.75 * 0.25 / 50) and drawn.std() > 4


def test_drop_path_leaves_out_whole_examples(rng):
    layer = layers.DropPath(0.3, seed=0)
    x = rng.normal(size=(4000, 2, 3)).astype("float32")
    np.testing.assert_array_equal(to_numpy(layer(x)), x)
    y = to_numpy(layer(x, training=True))
    dropped = np.all(y == 0, axis=(1, 2))
    np.testing.assert_allclose(y[~dropped], x[~dropped] / 0.7, rtol=1e-5)
    assert abs(dropped.mean() - 0.3) < 5 * math.sqrt(0.21 / 4000)
    again = np.all(to_numpy(layer(x, training=True)) == 0, axis=(1, 2))
    assert 0.1 < (again != dropped).mean() < 0.9
    np.testing.assert_array_equal(to_numpy(layers.DropPath(0.0)(x, training=True)), x)


def test_replicas_leave_out_the_examples_that_one_would(two_replicas):
    batch = np.ones((64, 2), "float32")
    expected = to_numpy(layers.DropPath(0.5, seed=0)(batch, training=True))
    with two_replicas.scope():
        layer = layers.DropPath(0.5, seed=0)
    halves = run_on_replicas(two_replicas, lambda x: layer(x, training=True), batch)
    np.testing.assert_array_equal(np.concatenate(halves), expected)
    assert not np.array_equal(*halves)


def test_layer_scale_multiplies_features(rng):
    x, factors = rng.normal(size=(2, 3, 4)), rng.normal(size=4)
    layer = layers.LayerScale()
    np.testing.assert_allclose(to_numpy(layer(x)), 1e-5 * x, rtol=1e-5)
    layer.set_weights([factors])
    np.testing.assert_allclose(to_numpy(layer(x)), x * factors, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda: layers.FeedForward(0), ValueError, "hidden_dim"),
        (lambda: layers.FeedForward(2.5), TypeError, "hidden_dim"),
        (lambda: layers.FeedForward(4, dropout_rate=1), ValueError, "dropout_rate"),
        (lambda: layers.DropPath(1.0), ValueError, "rate"),
        (lambda: layers.LayerScale("small"), TypeError, "initial_value"),
    ],
)
def test_bad_arguments_are_named(make, error, name):
    with pytest.raises(error, match=f"`{name}`.*Received"):
        make()
