"""Divergence and likelihoods of a VAE against SciPy, free bits, extremes."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

from keras_ssl import losses
from tests.losses.gradients import BACKEND, replica_values_and_gradients, value_and_gradients


def two(rng):
    return rng.normal(size=(2, 6, 3, 2))


def test_divergence_equals_the_closed_form_and_an_integral(rng):
    mean, log_variance = two(rng)
    terms = (np.exp(log_variance) + mean**2 - 1 - log_variance) / 2
    inputs = mean.astype("float32"), log_variance.astype("float32")
    np.testing.assert_allclose(losses.gaussian_kl_terms(*inputs), terms, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(losses.GaussianKL()(*inputs), terms.sum((1, 2)).mean(), rtol=1e-5)
    # from another normal distribution: the expectation of log q - log p under q
    q, p = scipy.stats.norm(0.3, 0.5), scipy.stats.norm(-1.0, 2.0)
    expected = q.expect(lambda z: q.logpdf(z) - p.logpdf(z))
    found = losses.gaussian_kl_terms(0.3, 2 * np.log(0.5), -1.0, 2 * np.log(2.0))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_free_bits_gate_the_mean_over_the_batch(rng):
    mean, log_variance = two(rng)
    terms = (np.exp(log_variance) + mean**2 - 1 - log_variance) / 2
    bits = float(np.median(terms.mean(axis=0)))  # some variables above, some below
    inputs = mean.astype("float32"), log_variance.astype("float32")
    loss = losses.GaussianKL(free_bits=bits + 1e-3)
    value, gradients = value_and_gradients(loss, *inputs)
    assert value == pytest.approx(np.maximum(terms.mean(axis=0), bits + 1e-3).sum(), rel=1e-5)
    pays = terms.mean(axis=0) > bits + 1e-3
    assert 0 < pays.sum() < pays.size
    np.testing.assert_allclose(gradients[0], np.where(pays, mean, 0) / 6, rtol=1e-5)
    np.testing.assert_allclose(
        gradients[1], np.where(pays, np.exp(log_variance) - 1, 0) / 12, rtol=1e-4, atol=1e-6
    )


@pytest.mark.skipif(BACKEND != "tensorflow", reason="replicas need the TensorFlow backend")
def test_batch_statistics_are_those_of_all_replicas(rng, two_replicas):
    """Free bits, sparsity and discrepancy, whose halves of a batch differ."""
    x, y = np.sort(rng.uniform(0.1, 0.9, size=(2, 8, 3)).astype("float32"), axis=1)
    for loss in (
        losses.GaussianKL(free_bits=0.15),
        losses.MMD(),
        lambda x, y: losses.KLSparsity(0.2)(x) + losses.L1Sparsity()(y),
    ):
        value, gradients = value_and_gradients(loss, x, y)
        values, found = replica_values_and_gradients(two_replicas, loss, x, y)
        np.testing.assert_allclose(sum(values), value, rtol=1e-5)
        for one, other in zip(found, gradients, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_likelihoods_equal_scipy(rng):
    outputs = two(rng)[0]
    x = rng.integers(0, 2, outputs.shape).astype("float64")
    inputs = x.astype("float32"), outputs.astype("float32")
    expected = -scipy.stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-outputs))).sum((1, 2))
    np.testing.assert_allclose(losses.bernoulli_nll(*inputs), expected, rtol=1e-5)
    loss = losses.BernoulliNLL()
    value, (_, gradient) = value_and_gradients(loss, *inputs)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(gradient, (loss.mean(inputs[1]) - x) / 6, rtol=1e-4, atol=1e-6)

    expected = -scipy.stats.norm(outputs, 0.3).logpdf(x).sum((1, 2))
    np.testing.assert_allclose(losses.gaussian_nll(*inputs, 0.3), expected, rtol=1e-5)
    loss = losses.GaussianNLL(0.3)
    value, (_, gradient) = value_and_gradients(loss, *inputs)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(gradient, (outputs - x) / 0.09 / 6, rtol=1e-4)
    np.testing.assert_array_equal(loss.mean(inputs[1]), inputs[1])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config() and again.std == 0.3


def test_extremes_and_half_precision():
    logits = ops.convert_to_tensor([[6e4, -6e4]], "float16")
    x = ops.convert_to_tensor([[1.0, 1.0]], "float16")
    value = losses.bernoulli_nll(x, logits)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, [60_000], rtol=1e-6)
    small = np.full((1, 2), 1e-4, "float32")  # variances near the prior's keep their digits
    np.testing.assert_allclose(losses.gaussian_kl(0 * small, small), [5e-9], rtol=1e-2)
    value, gradients = value_and_gradients(losses.GaussianKL(), 1e15 * small, -1e6 * small)
    assert np.isfinite(value) and all(np.all(np.isfinite(one)) for one in gradients)


def test_bad_values_and_shapes_are_refused():
    good, integers = np.ones((4, 2), "float32"), np.ones((4, 2), "int32")
    for x, message in ((300 * good, "divide images of 0..255 by 255"), (-good, "from -1 to -1")):
        with pytest.raises(ValueError, match=message):
            losses.BernoulliNLL().check_values(x)
    with pytest.raises(ValueError, match="`x` must be finite"):
        losses.GaussianNLL().check_values(np.nan * good)
    losses.BernoulliNLL().check_values(good)
    with pytest.raises(ValueError, match="`x` and `outputs` must have the same shape"):
        losses.BernoulliNLL()(good, good[:, :1])
    with pytest.raises(TypeError, match=r"`x`.*int32"):
        losses.GaussianNLL()(integers, good)
    with pytest.raises(ValueError, match="`mean` and `log_variance`"):
        losses.GaussianKL()(good, good[:, :1])
    for wrong in (lambda: losses.GaussianKL(-1.0), lambda: losses.GaussianNLL(0.0)):
        with pytest.raises(ValueError, match="Received"):
            wrong()
