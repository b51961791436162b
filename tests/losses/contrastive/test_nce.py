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


def formula(labels, scores):
    """The paper's h and its cross entropy, one candidate at a time, in float64."""
    scores = np.asarray(scores, "float64")
    m, noise = scores.shape[1] - 1, 1e-3
    values = []
    for label, row in zip(labels, scores, strict=True):
        model = noise * np.exp(row)  # the score is log P - log P_n
        h = model / (model + m * noise)
        values.append(-sum(np.log(h[j] if j == label else 1 - h[j]) for j in range(m + 1)))
    return np.array(values)


def candidates(rng, examples=6, noise=4):
    labels = rng.integers(0, noise + 1, size=examples)
    return labels, (3 * rng.normal(size=(examples, noise + 1))).astype("float32")


def test_equals_the_formula(rng):
    labels, scores = candidates(rng)
    expected = formula(labels, scores)
    np.testing.assert_allclose(losses.nce(labels, scores), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.NCE()(labels, scores), expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(losses.NCE(reduction=None)(labels, scores), expected, rtol=1e-5)


def test_gradient_equals_finite_differences_of_the_formula(rng):
    labels, scores = candidates(rng)
    _, (gradient,) = value_and_gradients(lambda s: losses.NCE()(labels, s), scores)
    (expected,) = finite_differences(lambda s: formula(labels, s).mean(), scores)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_minimum_is_at_the_true_ratio():
    """The gradient vanishes in expectation at the true ratio of data and noise."""
    data, noise, m = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.3, 0.5]), 1
    ratio = np.log(data / noise).astype("float32")
    pairs = [(d, n) for d in range(3) for n in range(3)]
    scores = np.array([[ratio[d], ratio[n]] for d, n in pairs], "float32")
    weights = np.array([data[d] * noise[n] ** m for d, n in pairs], "float32")

    def expected(shift):
        values = losses.nce(np.zeros(9, "int32"), scores + shift)
        return ops.sum(weights * values)

    _, (slope,) = value_and_gradients(expected, np.float32(0.0))
    assert abs(slope) < 1e-6
    assert float(expected(0.5)) > float(expected(0.0)) < float(expected(-0.5))


def test_order_does_not_matter(rng):
    labels, scores = candidates(rng)
    values = ops.convert_to_numpy(losses.nce(labels, scores))
    order = rng.permutation(scores.shape[1])
    moved = losses.nce(np.argsort(order)[labels], scores[:, order])
    np.testing.assert_allclose(moved, values, rtol=1e-5)
    assert np.abs(ops.convert_to_numpy(losses.nce((labels + 1) % 5, scores)) - values).max() > 0.1


@pytest.mark.parametrize("score", [0.0, 1e4, -1e4, 1e30, -1e30])
def test_extreme_scores_stay_finite(score):
    labels, scores = np.zeros(3, "int32"), np.full((3, 5), score, "float32")
    value, (gradient,) = value_and_gradients(lambda s: losses.NCE()(labels, s), scores)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient)) and np.abs(gradient).max() <= 1
    if not score:
        np.testing.assert_allclose(value, np.log(5) + 4 * np.log(1.25), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, dtype):
    labels, scores = candidates(rng)
    scores = ops.cast(scores, dtype)
    wide = ops.convert_to_numpy(ops.cast(scores, "float32"))
    value = losses.NCE()(labels, scores)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formula(labels, wide).mean(), rtol=1e-5)


def test_compiled_equals_uncompiled(rng):
    labels, scores = candidates(rng)
    value, (gradient,) = value_and_gradients(lambda s: losses.NCE()(labels, s), scores)
    jit_value, (jit_gradient,) = compiled_value_and_gradients(
        lambda s: losses.NCE()(labels, s), scores
    )
    np.testing.assert_allclose(jit_value, value, rtol=1e-6)
    np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-5, atol=1e-7)


def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas):
    _, scores = candidates(rng)

    def function(scores):
        return losses.NCE()(ops.zeros(ops.shape(scores)[0], "int32"), scores)

    value, (gradient,) = value_and_gradients(function, scores)
    values, (whole,) = replica_values_and_gradients(two_replicas, function, scores)
    np.testing.assert_allclose(sum(values), value, rtol=1e-6)
    np.testing.assert_allclose(whole, gradient, rtol=1e-5, atol=1e-7)


def test_config_round_trip(rng):
    loss = losses.NCE(reduction="sum", name="contrastive")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(copy, losses.NCE)
    assert copy.get_config() == loss.get_config()
    inputs = candidates(rng)
    np.testing.assert_allclose(copy(*inputs), loss(*inputs))


def test_sample_weight(rng):
    inputs = candidates(rng)
    weights = rng.uniform(size=6).astype("float32")
    loss = losses.NCE()(*inputs, sample_weight=weights)
    np.testing.assert_allclose(loss, (weights * formula(*inputs)).mean(), rtol=1e-5)


ZEROS = np.zeros(4, "int32")
GOOD = np.ones((4, 3), "float32")


@pytest.mark.parametrize(
    ("labels", "scores", "error", "message"),
    [
        (ZEROS, GOOD[0], ValueError, r"`scores` must have shape.*\(3,\)"),
        (ZEROS, GOOD[:, :1], ValueError, r"`scores`.*at least one.*\(4, 1\)"),
        (
            ZEROS,
            GOOD.astype("int32"),
            TypeError,
            r"dtype of `scores` must be floating-point.*int32",
        ),
        (ZEROS[:3], GOOD, ValueError, r"`labels` must hold one.*\(3,\).*\(4, 3\)"),
        (GOOD, GOOD, TypeError, r"dtype of `labels` must be integer.*float32"),
    ],
)
@pytest.mark.parametrize("loss", [losses.nce, losses.NCE()], ids=["function", "class"])
def test_bad_input(loss, labels, scores, error, message):
    with pytest.raises(error, match=message):
        loss(labels, scores)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")
def test_unknown_batch_size(rng):
    import tensorflow as tf

    labels, scores = candidates(rng)
    signature = [tf.TensorSpec((None,), "int64"), tf.TensorSpec((None, 5))]
    traced = tf.function(losses.NCE(), input_signature=signature)
    np.testing.assert_allclose(traced(labels, scores), formula(labels, scores).mean(), rtol=1e-5)
