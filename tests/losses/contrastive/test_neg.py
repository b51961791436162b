import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.formulas import finite_differences
from tests.losses.gradients import (
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)

K = 3.0


def formula(labels, scores, k=K):
    """The objective of Mikolov et al., one candidate at a time, in float64."""
    values = []
    for label, row in zip(labels, np.asarray(scores, "float64"), strict=True):
        noise = [np.log(1 / (1 + np.exp(s))) for y, s in zip(label, row, strict=True) if y == 0]
        value = 0.0
        for y, score in zip(label, row, strict=True):
            if y == 1:
                value -= np.log(1 / (1 + np.exp(-score))) + k * np.mean(noise)
        values.append(value)
    return np.array(values)


def candidates(rng, rows=6, targets=5, noise=4):
    labels = rng.choice([1, -1], size=(rows, targets))
    labels[0] = -1  # no data
    labels = np.concatenate([labels, np.zeros((rows, noise), "int64")], axis=1)
    return labels, (2 * rng.normal(size=labels.shape)).astype("float32")


def test_equals_the_formula_and_its_gradient(rng):
    labels, scores = candidates(rng)
    expected = formula(labels, scores)
    assert expected[0] == 0
    np.testing.assert_allclose(losses.neg(labels, scores, K), expected, rtol=1e-5, atol=1e-6)
    loss = losses.NEG(K)
    value, (gradient,) = value_and_gradients(lambda s: loss(labels, s), scores)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-5)
    (slopes,) = finite_differences(lambda s: formula(labels, s).mean(), scores)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-6)
    compiled, _ = compiled_value_and_gradients(lambda s: loss(labels, s), scores)
    np.testing.assert_allclose(compiled, value, rtol=1e-6)


def test_more_axes_are_rows(rng):
    labels, scores = candidates(rng)
    values = losses.neg(labels.reshape(2, 3, -1), scores.reshape(2, 3, -1), K)
    np.testing.assert_allclose(np.reshape(values, -1), losses.neg(labels, scores, K), rtol=1e-6)


def test_is_noise_contrastive_estimation_of_ratios_less_log_k(rng):
    scores = rng.normal(size=(6, 5)).astype("float32")
    labels = np.array([[1, 0, 0, 0, 0]] * 6)
    expected = losses.nce(np.zeros(6, "int32"), scores)
    np.testing.assert_allclose(losses.neg(labels, scores - np.log(4.0), 4), expected, rtol=1e-5)


@pytest.mark.parametrize("score", [1e4, -1e4, 1e30, -1e30])
def test_extreme_scores_stay_finite(score):
    labels, scores = np.array([[1, 0, -1]]), np.full((1, 3), score, "float32")
    value, (gradient,) = value_and_gradients(lambda s: losses.NEG()(labels, s), scores)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


def test_half_precision_is_computed_in_float32(rng):
    labels, scores = candidates(rng)
    scores = ops.cast(scores, "float16")
    wide = ops.convert_to_numpy(ops.cast(scores, "float32"))
    value = losses.NEG(K)(labels, scores)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formula(labels, wide).mean(), rtol=1e-5)


def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas):
    labels, scores = candidates(rng, rows=2)
    labels[:] = labels[1]

    def function(scores):
        return losses.NEG(K)(ops.tile(labels[:1], (ops.shape(scores)[0], 1)), scores)

    value, (gradient,) = value_and_gradients(function, scores)
    values, (whole,) = replica_values_and_gradients(two_replicas, function, scores)
    np.testing.assert_allclose(sum(values), value, rtol=1e-6)
    np.testing.assert_allclose(whole, gradient, rtol=1e-5, atol=1e-7)


def test_config_and_weights(rng):
    loss = losses.NEG(7, reduction="sum", name="noise")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(copy, losses.NEG) and copy.get_config() == loss.get_config()
    inputs, weights = candidates(rng), rng.uniform(size=6).astype("float32")
    value = copy(*inputs, sample_weight=weights)
    np.testing.assert_allclose(value, (weights * formula(*inputs, k=7)).sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("labels", "scores", "error", "message"),
    [
        (np.ones((2, 3), "int32"), np.ones((2, 4), "float32"), ValueError, r"\(2, 3\).*\(2, 4\)"),
        (np.ones((2, 3), "int32"), np.ones((2, 3), "int32"), TypeError, "`scores`.*int32"),
        (np.ones((2, 3)), np.ones((2, 3), "float32"), TypeError, "`labels`.*float64"),
    ],
)
@pytest.mark.parametrize("loss", [losses.neg, losses.NEG()], ids=["function", "class"])
def test_bad_input(loss, labels, scores, error, message):
    with pytest.raises(error, match=message):
        loss(labels, scores)
    with pytest.raises(ValueError, match="`noise_per_example`"):
        losses.NEG(0)
