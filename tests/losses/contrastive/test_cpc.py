import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.formulas import finite_differences
from tests.losses.gradients import (
    BACKEND,
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)

chunked = pytest.mark.parametrize("chunk_size", [None, 5] if BACKEND == "tensorflow" else [None])
shaped = pytest.mark.parametrize("places", [(5,), (4, 3)], ids=["sequence", "grid"])


def formula(prediction, target, temperature=1.0):
    """The loss of every prediction, one at a time, in float64."""
    prediction, target = (np.asarray(x, "float64") for x in (prediction, target))
    step = target.shape[1] - prediction.shape[1]
    candidates = target.reshape(-1, target.shape[-1])
    values = np.zeros(prediction.shape[:-1])
    for index in np.ndindex(*values.shape):
        example, position, *column = index
        scores = candidates @ prediction[index] / temperature
        right = target[(example, position + step, *column)] @ prediction[index] / temperature
        values[index] = np.log(np.exp(scores).sum()) - right
    return values


def inputs(rng, places, step=2, examples=4, dim=3):
    target = rng.normal(size=(examples, *places, dim)).astype("float32")
    noise = rng.normal(size=(examples, places[0] - step, *places[1:], dim))
    return (0.5 * target[:, step:] + noise).astype("float32"), target


@pytest.mark.few(9)
@shaped
@chunked
@pytest.mark.parametrize("temperature", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("step", [0, 1, 3])
def test_equals_the_formula(rng, places, chunk_size, temperature, step):
    x = inputs(rng, places, step)
    expected = formula(*x, temperature)
    values = losses.cpc(*x, temperature, chunk_size)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    value = losses.CPCLoss(temperature, chunk_size)(*x)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-5, atol=1e-6)


@shaped
@chunked
def test_gradient_equals_finite_differences_of_the_formula(rng, places, chunk_size):
    x = inputs(rng, places, examples=2)
    _, gradients = value_and_gradients(losses.CPCLoss(0.5, chunk_size), *x)
    expected = finite_differences(lambda *x: formula(*x, 0.5).mean(), *x)
    for gradient, difference in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, difference, rtol=1e-4, atol=2e-6)


def test_order_of_examples_does_not_matter_but_that_of_positions_does(rng):
    prediction, target = inputs(rng, (5,))
    loss, order = losses.CPCLoss(reduction=None), rng.permutation(4)
    values = ops.convert_to_numpy(loss(prediction, target))
    np.testing.assert_allclose(loss(prediction[order], target[order]), values[order], rtol=1e-5)
    assert np.abs(ops.convert_to_numpy(loss(prediction, target[:, ::-1])) - values).mean() > 0.1


@chunked
def test_extreme_values(rng, chunk_size):
    x = inputs(rng, (4, 3))
    value, gradients = value_and_gradients(
        losses.CPCLoss(chunk_size=chunk_size), *map(np.zeros_like, x)
    )
    np.testing.assert_allclose(value, np.log(48), rtol=1e-6)
    assert not any(np.any(gradient) for gradient in gradients)
    large = [np.float32(1e15) * one for one in x]
    value, gradients = value_and_gradients(losses.CPCLoss(chunk_size=chunk_size), *large)
    assert np.isfinite(value) and all(np.all(np.isfinite(gradient)) for gradient in gradients)


@chunked
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, dtype, chunk_size):
    x = [ops.cast(100 * one, dtype) for one in inputs(rng, (4, 3))]
    wide = [ops.convert_to_numpy(ops.cast(one, "float32")) for one in x]
    value = losses.CPCLoss(1e4, chunk_size)(*x)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formula(*wide, 1e4).mean(), rtol=1e-5)
    assert keras.backend.standardize_dtype(losses.cpc(*x).dtype) == "float32"


@pytest.mark.parametrize("chunk_size", [None, 5])
def test_compiled_equals_uncompiled(rng, chunk_size):
    x, loss = inputs(rng, (4, 3)), losses.CPCLoss(chunk_size=chunk_size)
    value, gradients = value_and_gradients(loss, *x)
    jit_value, jit_gradients = compiled_value_and_gradients(loss, *x)
    np.testing.assert_allclose(jit_value, value, rtol=1e-5)
    for jit_gradient, gradient in zip(jit_gradients, gradients, strict=True):
        np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-4, atol=1e-6)


@shaped
@chunked
def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas, places, chunk_size):
    x, loss = inputs(rng, places), losses.CPCLoss(chunk_size=chunk_size)
    value, gradients = value_and_gradients(loss, *x)
    np.testing.assert_allclose(value, formula(*x).mean(), rtol=1e-5)
    values, whole = replica_values_and_gradients(two_replicas, loss, *x)
    np.testing.assert_allclose(sum(values), value, rtol=1e-5)
    for gradient, expected in zip(whole, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_config_round_trip(rng):
    loss = losses.CPCLoss(temperature=10, chunk_size=3, reduction="sum", name="coding")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is losses.CPCLoss
    assert copy.get_config() == loss.get_config()
    x = inputs(rng, (5,))
    np.testing.assert_allclose(copy(*x), loss(*x))


def test_sample_weight(rng):
    x = inputs(rng, (5,))
    weights = rng.uniform(size=(4, 3)).astype("float32")
    loss = losses.CPCLoss()(*x, sample_weight=weights)
    np.testing.assert_allclose(loss, (weights * formula(*x)).mean(), rtol=1e-5)


GOOD = np.ones((4, 3, 2), "float32")


@pytest.mark.parametrize(
    ("prediction", "target", "error", "message"),
    [
        (GOOD[:, 0], GOOD, ValueError, "`prediction` must have shape.*Received"),
        (GOOD[:, 0], GOOD[:, 0], ValueError, "`prediction` must have shape.*Received"),
        (GOOD, GOOD[:, :2], ValueError, "k at least 0"),
        (GOOD[:, :0], GOOD, ValueError, "k at least 0"),
        (GOOD[:3], GOOD, ValueError, "`prediction` must have shape.*Received"),
        (GOOD[..., :1], GOOD, ValueError, "`prediction` must have shape.*Received"),
        (GOOD[:1, :1], GOOD[:1, :1], ValueError, "needs negatives"),
        (
            GOOD.astype("int32"),
            GOOD,
            TypeError,
            "dtype of `prediction` must be floating-point.*int32",
        ),
        (GOOD, None, ValueError, "`target` must be a tensor.*target=None"),
    ],
)
@pytest.mark.parametrize("loss", [losses.CPCLoss(), losses.cpc], ids=["class", "function"])
def test_bad_inputs(loss, prediction, target, error, message):
    with pytest.raises(error, match=message):
        loss(prediction, target)


def test_bad_settings():
    with pytest.raises(ValueError, match="`temperature`"):
        losses.CPCLoss(0)
    with pytest.raises(ValueError, match="`chunk_size`"):
        losses.CPCLoss(chunk_size=0)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")
@chunked
def test_unknown_batch_size(rng, chunk_size):
    import tensorflow as tf

    x = inputs(rng, (4, 3))
    signature = [tf.TensorSpec((None, *one.shape[1:])) for one in x]
    traced = tf.function(losses.CPCLoss(chunk_size=chunk_size), input_signature=signature)
    np.testing.assert_allclose(traced(*x), formula(*x).mean(), rtol=1e-5)
