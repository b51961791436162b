import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.gradients import (
    BACKEND,
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)


def formula(x):
    """Return the value of each example in float64."""
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    distances = np.linalg.norm(z[:, None] - z[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    return -np.log(distances.min(axis=1))


def test_equals_the_formula(rng):
    x = rng.normal(size=(9, 5)) * rng.uniform(0.1, 50, size=(9, 1))
    np.testing.assert_allclose(losses.ko_leo(x.astype("float32")), formula(x), rtol=1e-5)
    loss = losses.KoLeo()
    np.testing.assert_allclose(loss(x.astype("float32")), formula(x).mean(), rtol=1e-5)
    weights = rng.uniform(size=9).astype("float32")
    weighted = loss(x.astype("float32"), sample_weight=weights)
    np.testing.assert_allclose(weighted, np.mean(weights * formula(x)), rtol=1e-5)


def test_gradient_equals_finite_differences(rng):
    x, step = rng.normal(size=(6, 4)), 1e-6
    expected = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        expected[place] = (formula(x + moved) - formula(x - moved)).mean() / (2 * step)
    for function in (value_and_gradients, compiled_value_and_gradients):
        _, (gradient,) = function(losses.KoLeo(), x.astype("float32"))
        np.testing.assert_allclose(gradient, expected, rtol=2e-4, atol=1e-5)


def test_a_step_moves_neighbours_apart(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    value, (gradient,) = value_and_gradients(losses.KoLeo(), x)
    assert losses.KoLeo()(x - 0.01 * gradient) < value


def test_equal_and_zero_vectors_are_finite(rng):
    x = rng.normal(size=(6, 4)).astype("float32")
    x[1] = x[0]  # duplicates
    x[2:4] = 0
    value, (gradient,) = value_and_gradients(losses.KoLeo(), x)
    values = ops.convert_to_numpy(losses.ko_leo(x))
    np.testing.assert_allclose(values[:4], -np.log(1e-8), rtol=1e-6)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(gradient[2:4], 0)
    value, (gradient,) = value_and_gradients(losses.KoLeo(), np.ones((4, 3), "float32"))
    assert np.isfinite(value) and np.all(gradient == 0)


def test_small_distances_keep_their_digits():
    """2 - 2 cos would be 0 in float32."""
    x = np.array([[1, 0], [1, 3e-5]], "float32")
    np.testing.assert_allclose(losses.ko_leo(x), -np.log(3e-5), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, dtype):
    x = ops.cast(100 * rng.normal(size=(8, 5)), dtype)
    found = losses.ko_leo(x)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    exact = ops.convert_to_numpy(ops.cast(x, "float32")).astype("float64")
    np.testing.assert_allclose(found, formula(exact), rtol=1e-4)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="replicas need the TensorFlow backend")
def test_neighbours_are_those_of_all_replicas(rng, two_replicas):
    x = rng.normal(size=(8, 4)).astype("float32")
    value, (gradient,) = value_and_gradients(losses.KoLeo(), x)
    values, (found,) = replica_values_and_gradients(two_replicas, losses.KoLeo(), x)
    np.testing.assert_allclose(sum(values), value, rtol=1e-5)
    np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-6)


def test_config():
    loss = losses.KoLeo.from_config(losses.KoLeo(epsilon=0.5, name="spread").get_config())
    assert loss.epsilon == 0.5 and loss.name == "spread"


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((4, 2), "int32"), TypeError, "`features`.*int32"),
        (np.ones((4, 2, 2), "float32"), ValueError, r"`features` must have rank 2.*\(4, 2, 2\)"),
        (np.ones((1, 2), "float32"), ValueError, "at least 2"),
    ],
)
def test_bad_features(x, error, message):
    with pytest.raises(error, match=message):
        losses.KoLeo()(x)


def test_bad_epsilon():
    with pytest.raises(ValueError, match="`epsilon`"):
        losses.KoLeo(epsilon=0.0)
