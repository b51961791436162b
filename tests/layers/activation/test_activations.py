"""Activations, compared with their formulas; PyTorch's have the same."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers
from tests.losses.gradients import BACKEND, value_and_gradients


class TestConformance(TestCase):
    def test_activations(self):
        for cls, arguments, weights in (
            (layers.Softmin, {"axis": 1}, 0),
            (layers.Softplus, {"beta": 2.0, "threshold": 5.0}, 0),
            (layers.HardTanh, {"min_value": -0.5, "max_value": 2.0}, 0),
            (layers.RReLU, {"seed": 3}, 0),
            (layers.Swish, {"beta": 0.5, "per_feature": True}, 1),
        ):
            self.run_layer_test(
                cls,
                init_kwargs=arguments,
                input_shape=(3, 4, 5),
                expected_output_shape=(3, 4, 5),
                expected_num_trainable_weights=weights,
                expected_num_seed_generators=int(cls is layers.RReLU),
                supports_masking=True,
            )


X = np.array([-40, -2.5, -1.0, -0.25, 0.0, 0.25, 0.5, 1.0, 3.0, 40.0])


def softplus(x, beta, threshold):
    return np.where(beta * x > threshold, x, np.log1p(np.exp(np.minimum(beta * x, 100))) / beta)


@pytest.mark.parametrize(
    ("layer", "formula", "slope"),
    [
        (
            layers.Softmin(),
            lambda x: np.exp(-x - 40) / np.exp(-x - 40).sum(-1),
            None,
        ),
        (
            layers.Softplus(3.0, threshold=2.0),
            lambda x: softplus(x, 3.0, 2.0),
            lambda x: np.where(3 * x > 2, 1, 1 / (1 + np.exp(-3 * x))),
        ),
        (
            layers.HardTanh(-0.3, 0.7),
            lambda x: np.clip(x, -0.3, 0.7),
            lambda x: (x > -0.3) & (x < 0.7),
        ),
        (
            layers.RReLU(0.2, 0.6),
            lambda x: np.where(x >= 0, x, 0.4 * x),
            lambda x: np.where(x >= 0, 1, 0.4),
        ),
        (
            layers.Swish(beta=1.7),
            lambda x: x / (1 + np.exp(-1.7 * x)),
            lambda x: (1 + np.exp(-1.7 * x) * (1 + 1.7 * x)) / (1 + np.exp(-1.7 * x)) ** 2,
        ),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_equals_the_formula_and_its_slope(layer, formula, slope):
    x = X[None].astype("float32")
    np.testing.assert_allclose(layer(x)[0], formula(X), rtol=1e-5, atol=1e-7)
    _, (gradient,) = value_and_gradients(lambda one: ops.sum(layer(one)), x)
    assert np.all(np.isfinite(gradient))
    if slope is not None:
        np.testing.assert_allclose(gradient[0], slope(X), rtol=1e-4, atol=1e-6)


def test_agree_with_keras_where_keras_has_them(rng):
    x = rng.normal(size=(3, 8)).astype("float32")
    for layer, function in (
        (layers.Softplus(), keras.activations.softplus),
        (layers.HardTanh(), keras.activations.hard_tanh),
        (layers.Swish(), keras.activations.silu),
    ):
        np.testing.assert_allclose(layer(x), function(x), rtol=1e-5, atol=1e-6)


def test_random_slopes_are_even_and_anew_at_each_call():
    layer, x = layers.RReLU(0.25, 0.75, seed=0), np.full((100, 50), -1, "float32")
    first, second = (-ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    assert first.min() >= 0.25 and first.max() <= 0.75 and np.any(first != second)
    np.testing.assert_allclose(first.mean(), 0.5, atol=0.01)
    np.testing.assert_allclose(first.std(), 0.5 / np.sqrt(12), atol=0.01)
    np.testing.assert_array_equal(layer(-x, training=True), -x)


def test_swish_learns_its_sharpness():
    layer = layers.Swish(per_feature=True)
    x = np.array([[1.0, -2.0]], "float32")
    layer.build(x.shape)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = ops.sum(layer(x))
        gradient = tape.gradient(value, layer.beta.value)
        share = 1 / (1 + np.exp(-x[0]))
        np.testing.assert_allclose(gradient, x[0] ** 2 * share * (1 - share), rtol=1e-5)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`beta` must be a positive number"):
        layers.Softplus(beta=0)
    with pytest.raises(ValueError, match=r"`min_value` must be below `max_value`.*min_value=1"):
        layers.HardTanh(1, 1)
    with pytest.raises(ValueError, match=r"`\(lower, upper\)` must be two numbers"):
        layers.RReLU(0.5, 0.1)
    with pytest.raises(TypeError, match="`axis` must be an integer"):
        layers.Softmin(0.5)
