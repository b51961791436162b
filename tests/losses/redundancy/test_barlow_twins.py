import numpy as np
import pytest

from keras_ssl import losses
from tests.losses import formulas
from tests.losses.test_two_view_losses import views


@pytest.mark.parametrize("dim", [4, 9])
def test_scale_and_shift_of_a_feature_do_not_matter(rng, dim):
    z1, z2 = views(rng, 6, dim)
    scale = rng.uniform(50, 100, size=dim).astype("float32")
    loss = losses.BarlowTwinsLoss(0.1)
    # epsilon is then nothing beside the variance
    value = loss(100 * z1, 100 * z2)
    np.testing.assert_allclose(loss(scale * z1 + 3, 100 * z2 - scale), value, rtol=1e-4)


def test_redundant_features_are_penalised(rng):
    z = rng.normal(size=(64, 1)).astype("float32")
    repeated = np.tile(z, (1, 5))
    # all correlations are 1, but for epsilon
    np.testing.assert_allclose(
        losses.barlow_twins(repeated, repeated, 0.005), 20 * 0.005, rtol=1e-3
    )
    np.testing.assert_allclose(losses.barlow_twins(repeated, -repeated, 0.0), 5 * 4, rtol=1e-3)


def test_collapsed_embeddings_have_no_correlation():
    z = np.ones((8, 5), "float32")
    np.testing.assert_allclose(losses.barlow_twins(z, z), 5)


def test_loss_of_half_the_batch_differs(rng):
    # so that the test of two replicas can fail
    z1, z2 = views(rng)
    halves = [formulas.barlow_twins(z1[part], z2[part]) for part in (slice(3), slice(3, 6))]
    assert abs(np.mean(halves) - formulas.barlow_twins(z1, z2)) > 0.05
