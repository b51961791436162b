import numpy as np
import pytest
from keras import ops

from keras_ssl.ops import center, off_diagonal_sum_of_squares, standardize
from tests.losses.gradients import value_and_gradients


def off_diagonal(a, b):
    c = a.T.astype("float64") @ b.astype("float64")
    np.fill_diagonal(c, 0)
    return np.sum(c**2)


@pytest.mark.parametrize("shape", [(9, 4), (5, 5), (4, 9), (3, 200)])
def test_both_ways_of_summing_equal_the_definition(rng, shape):
    a, b = rng.normal(size=(2, *shape)).astype("float32")
    value, gradients = value_and_gradients(off_diagonal_sum_of_squares, a, b)
    np.testing.assert_allclose(value, off_diagonal(a, b), rtol=2e-6)
    c = a.T.astype("float64") @ b
    np.fill_diagonal(c, 0)
    np.testing.assert_allclose(gradients[0], 2 * b @ c.T, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(gradients[1], 2 * a @ c, rtol=1e-4, atol=1e-2)
    one, (gradient,) = value_and_gradients(lambda x: off_diagonal_sum_of_squares(x, x), a)
    np.testing.assert_allclose(one, off_diagonal(a, a), rtol=2e-6)
    c = a.T.astype("float64") @ a
    np.fill_diagonal(c, 0)
    np.testing.assert_allclose(gradient, 4 * a @ c, rtol=1e-4, atol=1e-2)


def test_zero_off_diagonal_is_not_below_zero(rng):
    a = np.zeros((3, 8), "float32")
    a[:, 2] = 1e3 * rng.normal(size=3)
    assert 0 <= off_diagonal_sum_of_squares(a, a) <= 1e-6 * np.sum(a**2) ** 2
    independent = np.eye(4, dtype="float32")
    assert off_diagonal_sum_of_squares(independent, independent) == 0


@pytest.mark.parametrize("mean", [0, 1e4])
def test_standardized_columns(rng, mean):
    z = (mean + rng.normal(size=(50, 3)) * [0.01, 1, 100]).astype("float32")
    wide = z.astype("float64")
    expected = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5)
    np.testing.assert_allclose(standardize(z), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(center(z), wide - wide.mean(0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("scale", [1e10, 1e37])
def test_huge_columns_are_standardized(rng, scale):
    z = rng.normal(size=(50, 3)).astype("float32")
    expected = (z - z.mean(0)) / z.std(0)
    np.testing.assert_allclose(standardize(z * np.float32(scale)), expected, rtol=1e-4, atol=1e-5)


def test_equal_rows_become_exact_zeros():
    z = np.full((7, 2), 0.1, "float32")
    assert not np.any(ops.convert_to_numpy(center(z)))
    assert not np.any(ops.convert_to_numpy(standardize(z * np.float32(1e38))))
