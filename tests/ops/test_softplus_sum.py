import numpy as np
import pytest
from keras import ops

from keras_ssl.ops import softplus_sum_of_similarities
from tests.losses.gradients import compiled_value_and_gradients, value_and_gradients
from tests.ops.test_log_sum_exp import largest_tensor


def inputs(anchors=7, candidates=10, scale=1.0):
    rng = np.random.default_rng(0)
    shapes = (anchors, 3), (candidates, 3)
    return [(scale * rng.normal(size=shape)).astype("float32") for shape in shapes]


def formula(a, c):
    return np.logaddexp(0, a.astype("float64") @ c.astype("float64").T).sum(axis=1)


@pytest.mark.parametrize("chunk_size", [None, 1, 3, 100])
def test_equals_the_formula(chunk_size):
    a, c = inputs()
    values = softplus_sum_of_similarities(a, c, chunk_size)
    np.testing.assert_allclose(values, formula(a, c), rtol=1e-6)


@pytest.mark.parametrize("chunk_size", [None, 3, 5])
@pytest.mark.parametrize("evaluate", [value_and_gradients, compiled_value_and_gradients])
def test_gradients_equal_those_of_the_formula(chunk_size, evaluate):
    a, c = inputs()
    weights = np.linspace(-1, 2, len(a)).astype("float32")

    def weighted(a, c):
        return ops.sum(weights * softplus_sum_of_similarities(a, c, chunk_size))

    value, (of_a, of_c) = evaluate(weighted, a, c)
    slope = weights[:, None] / (1 + np.exp(-a.astype("float64") @ c.T))
    np.testing.assert_allclose(value, (weights * formula(a, c)).sum(), rtol=1e-5)
    np.testing.assert_allclose(of_a, slope @ c, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_c, slope.T @ a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_extremes_stay_finite(chunk_size):
    a, c = inputs(scale=1e6)
    a[0] = 0
    value, gradients = value_and_gradients(
        lambda a, c: ops.sum(softplus_sum_of_similarities(a, c, chunk_size)), a, c
    )
    np.testing.assert_allclose(value, formula(a, c).sum(), rtol=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_the_whole_matrix_is_never_stored():
    a, c = inputs(100, 100)

    def function(a, c):
        return ops.sum(softplus_sum_of_similarities(a, c, 16))

    assert largest_tensor(function, a, c) <= max(16**2, 100 * 5)
