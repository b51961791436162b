import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from keras_ssl.losses.contrastive.dcl import _von_mises_fisher_weights
from tests.losses import formulas
from tests.losses.gradients import BACKEND, value_and_gradients
from tests.losses.test_two_view_losses import views


@pytest.mark.parametrize("chunk_size", [None, 3] if BACKEND == "tensorflow" else [None])
def test_values_by_anchor(rng, chunk_size):
    z1, z2 = views(rng, 7, 5)
    values = losses.dcl(z1, z2, 0.2, chunk_size)
    np.testing.assert_allclose(values, formulas.dcl(z1, z2, 0.2), rtol=2e-6, atol=1e-6)
    weighted = losses.dclw(z1, z2, 0.2, 0.4, chunk_size)
    np.testing.assert_allclose(weighted, formulas.dcl(z1, z2, 0.2, 0.4), rtol=3e-6, atol=1e-6)
    weights = rng.uniform(size=14).astype("float32")
    mean = losses.DCLW(0.2, 0.4, chunk_size)(z1, z2, sample_weight=weights)
    np.testing.assert_allclose(mean, np.mean(weights * weighted), rtol=1e-5)


def test_equals_nt_xent_without_the_positive_in_the_denominator(rng):
    z1, z2 = views(rng)
    decoupled = ops.convert_to_numpy(losses.dcl(z1, z2, 0.5)).astype("float64")
    coupled = ops.convert_to_numpy(losses.nt_xent(z1, z2, 0.5))
    np.testing.assert_allclose(np.log1p(np.exp(decoupled)), coupled, rtol=2e-6)


def test_negatives_keep_their_gradient_if_the_positive_is_close(rng):
    z, _ = views(rng, 2, 16)
    norms = {}
    for loss in (losses.DCL(), losses.NTXent()):
        _, gradients = value_and_gradients(loss, z, z)
        norms[type(loss).__name__] = np.linalg.norm(gradients[0])
    assert norms["DCL"] > 10 * norms["NTXent"]


def test_weights_of_positives(rng):
    similarities = rng.uniform(-1, 1, size=20).astype("float32")
    weights = ops.convert_to_numpy(_von_mises_fisher_weights(similarities, 0.5))
    np.testing.assert_allclose(weights.mean(), 1, rtol=1e-6)
    assert np.all(np.diff(weights[np.argsort(similarities)]) < 0)
    assert weights.max() < 2
    # the widest weight is DCL
    z1, z2 = views(rng)
    np.testing.assert_allclose(losses.DCLW(sigma=1e6)(z1, z2), losses.DCL()(z1, z2), rtol=1e-5)
    _, (gradient,) = value_and_gradients(
        lambda s: ops.sum(ops.stack([0 * ops.sum(s), _von_mises_fisher_weights(s, 0.5)[0]])),
        similarities,
    )
    assert not np.any(gradient)


@pytest.mark.parametrize("sigma", [1e-6, 1e6])
def test_extreme_widths_and_temperatures_stay_finite(rng, sigma):
    z1, z2 = views(rng)
    for temperature in (1e-6, 1e6):
        value, gradients = value_and_gradients(losses.DCLW(temperature, sigma), z1, z2)
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(g)) for g in gradients)
