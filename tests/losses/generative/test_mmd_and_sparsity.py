"""Maximum mean discrepancy and penalties of sparsity against their formulas."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics.pairwise import rbf_kernel

from keras_ssl import losses
from tests.losses.gradients import compiled_value_and_gradients, value_and_gradients


def discrepancy(x, y, bandwidths, relative):
    """The unbiased estimate of lemma 6 with scikit-learn's kernels."""
    both = np.concatenate([x, y])
    scale = np.mean(np.sum((both[:, None] - both[None]) ** 2, axis=-1)) if relative else 1.0

    def kernel(a, b):
        return np.mean([rbf_kernel(a, b, 1 / (2 * s**2 * scale)) for s in bandwidths], axis=0)

    off = ~np.eye(len(x), dtype=bool)
    return kernel(x, x)[off].mean() + kernel(y, y)[off].mean() - 2 * kernel(x, y).mean()


@pytest.mark.parametrize("relative", [True, False])
def test_discrepancy_equals_the_formula(rng, relative):
    x, y = rng.normal(5, 1, size=(2, 7, 3))
    bandwidths = (0.3, 1.0, 2.5)
    loss = losses.MMD(bandwidths, relative)
    value, gradients = value_and_gradients(loss, x.astype("float32"), y.astype("float32"))
    assert value == pytest.approx(discrepancy(x, y, bandwidths, relative), rel=1e-4, abs=1e-6)
    if not relative:  # the unit has no gradient
        moved = np.zeros_like(x)
        moved[2, 1] = 1e-5
        slope = [discrepancy(x, y + s * moved, bandwidths, False) for s in (1, -1)]
        assert gradients[1][2, 1] == pytest.approx((slope[0] - slope[1]) / 2e-5, rel=1e-3)
    compiled, _ = compiled_value_and_gradients(loss, x.astype("float32"), y.astype("float32"))
    assert compiled == pytest.approx(value, rel=1e-4, abs=1e-6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()


def test_discrepancy_is_symmetric_and_zero_in_the_mean_of_equal_distributions(rng):
    x, y = rng.normal(size=(2, 25, 40, 2)).astype("float32")
    values = [float(losses.mmd(*pair)) for pair in zip(x, y, strict=True)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 5
    assert float(losses.mmd(y[0], x[0])) == pytest.approx(values[0], abs=1e-6)
    equal = np.ones((4, 2), "float32")
    value, gradients = value_and_gradients(losses.MMD(), equal, equal)
    assert value == pytest.approx(0, abs=1e-6) and all(np.all(g == 0) for g in gradients)


def test_sparsity_equals_the_formulas(rng):
    h = rng.uniform(0.01, 0.99, size=(6, 2, 3))
    mean = h.mean((0, 1))
    expected = np.sum(0.2 * np.log(0.2 / mean) + 0.8 * np.log(0.8 / (1 - mean)))
    value, (gradient,) = value_and_gradients(losses.KLSparsity(0.2), h.astype("float32"))
    assert value == pytest.approx(expected, rel=1e-5)
    slope = (-0.2 / mean + 0.8 / (1 - mean)) / 12
    np.testing.assert_allclose(gradient, np.broadcast_to(slope, h.shape), rtol=1e-4)
    signed = h - 0.5
    found = losses.L1Sparsity()(signed.astype("float32"))
    assert float(found) == pytest.approx(np.abs(signed).sum(-1).mean(), rel=1e-5)
    for loss in (losses.KLSparsity(0.2), losses.L1Sparsity()):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert again.get_config() == loss.get_config()


def test_dead_and_saturated_units_are_finite():
    h = ops.convert_to_tensor([[0.0, 1.0], [0.0, 1.0]], "float16")
    value, (gradient,) = value_and_gradients(losses.KLSparsity(), h)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    assert keras.backend.standardize_dtype(losses.l1_sparsity(h).dtype) == "float32"


def test_bad_arguments_are_refused():
    good, integers = np.ones((4, 2), "float32"), np.ones((4, 2), "int32")
    for call, error, message in (
        (lambda: losses.MMD([]), ValueError, "`bandwidths` must be a sequence"),
        (lambda: losses.MMD([1.0, 0.0]), ValueError, "`bandwidths` must be a positive"),
        (lambda: losses.MMD()(good[:1], good[:1]), ValueError, "at least 2 examples"),
        (lambda: losses.MMD()(good, good[:2]), ValueError, "`x` and `y` must have the same"),
        (lambda: losses.MMD()(good, integers), TypeError, "`y`.*int32"),
        (lambda: losses.MMD()(good, good, sample_weight=good), ValueError, "sample_weight"),
        (lambda: losses.KLSparsity(1.0), ValueError, "`target`"),
        (lambda: losses.KLSparsity()(good[:, 0]), ValueError, "`activations` must have at least 2"),
        (lambda: losses.KLSparsity()(good, sample_weight=good), ValueError, "sample_weight"),
        (lambda: losses.L1Sparsity()(integers), TypeError, "`activations`.*int32"),
    ):
        with pytest.raises(error, match=message):
            call()
