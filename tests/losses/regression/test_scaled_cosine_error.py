import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.formulas import normalized
from tests.losses.gradients import compiled_value_and_gradients, value_and_gradients
from tests.losses.test_two_view_losses import GOOD, views

gammas = pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0, 3.0])


def formula(z, x, gamma):
    """Equation 2 of the paper, one node at a time."""
    pairs = zip(normalized(z), normalized(x), strict=True)
    return np.array([(1 - a @ b) ** gamma for a, b in pairs])


@gammas
def test_equals_the_formula(rng, gamma):
    z, x = views(rng)
    expected = formula(z, x, gamma)
    np.testing.assert_allclose(losses.scaled_cosine_error(z, x, gamma), expected, rtol=1e-5)
    loss = losses.ScaledCosineError(gamma)
    np.testing.assert_allclose(loss(z, x), expected.mean(), rtol=1e-5)
    weights = rng.uniform(size=len(z)).astype("float32")
    weighted = loss(z, x, sample_weight=weights)
    np.testing.assert_allclose(weighted, np.mean(weights * expected), rtol=1e-5)


@gammas
def test_gradient_equals_finite_differences_of_the_formula(rng, gamma):
    inputs = [one.astype("float64") for one in views(rng)]
    _, gradients = value_and_gradients(
        losses.ScaledCosineError(gamma), *(one.astype("float32") for one in inputs)
    )
    for number, gradient in enumerate(gradients):
        expected = np.zeros_like(inputs[number])
        for place in np.ndindex(expected.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = [one.copy() for one in inputs]
                moved[number][place] += step
                values.append(formula(*moved, gamma).mean())
            expected[place] = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


@gammas
def test_extreme_rows_have_finite_values_and_gradients(gamma):
    rows = np.array([[0, 0, 0], [3e30, 4e30, 0], [1e-30, 0, 0], [1, 2, 3]], "float32")
    for z, x in ((rows, rows), (rows, -rows), (rows, rows[::-1].copy())):
        value, gradients = value_and_gradients(losses.ScaledCosineError(gamma), z, x)
        assert np.isfinite(value) and 0 <= value <= 2**gamma
        assert all(np.all(np.isfinite(one)) for one in gradients)
    values = ops.convert_to_numpy(losses.scaled_cosine_error(rows, -rows, gamma))
    np.testing.assert_allclose(values, [1, 2**gamma, 2**gamma, 2**gamma], rtol=1e-6)
    _, gradients = value_and_gradients(losses.ScaledCosineError(gamma), rows, -rows)
    np.testing.assert_array_equal(gradients[0][0], 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, dtype):
    z, x = (ops.cast(one, dtype) for one in views(rng))
    value = losses.ScaledCosineError(3.0)(z, x)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    rounded = [ops.convert_to_numpy(ops.cast(one, "float32")) for one in (z, x)]
    np.testing.assert_allclose(value, formula(*rounded, 3.0).mean(), rtol=1e-5)


def test_compiles(rng):
    loss, inputs = losses.ScaledCosineError(1.5), views(rng)
    plain, compiled = (
        value_and_gradients(loss, *inputs),
        compiled_value_and_gradients(loss, *inputs),
    )
    np.testing.assert_allclose(plain[0], compiled[0], rtol=1e-5)
    for one, other in zip(plain[1], compiled[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_config_round_trip():
    loss = losses.ScaledCosineError(gamma=3, name="error")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.get_config() == loss.get_config() and copy.gamma == 3.0


def test_bad_arguments_are_refused():
    for gamma in (0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"`gamma` must be a number of at least 1.*Received"):
            losses.ScaledCosineError(gamma)
    for gamma in ("2", None, True):
        with pytest.raises(TypeError, match=r"`gamma` must be a number.*Received"):
            losses.scaled_cosine_error(GOOD, GOOD, gamma)
    with pytest.raises(ValueError, match="`predictions` and `targets` must have the same shape"):
        losses.ScaledCosineError()(GOOD, GOOD[:1])
    with pytest.raises(TypeError, match="predictions"):
        losses.ScaledCosineError()(GOOD.astype("int32"), GOOD)
