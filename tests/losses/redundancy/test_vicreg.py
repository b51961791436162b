import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses import formulas
from tests.losses.gradients import BACKEND, value_and_gradients
from tests.losses.test_two_view_losses import views


@pytest.mark.parametrize("dim", [4, 9])
def test_terms_by_name(rng, dim):
    z1, z2 = views(rng, 6, dim)
    expected = formulas.vicreg_terms(z1, z2)
    found = losses.vicreg_terms(z1, z2)
    assert list(found) == ["invariance", "variance", "covariance"]
    for name, value in found.items():
        assert value.shape == ()
        np.testing.assert_allclose(value, expected[name], rtol=3e-6)
    loss = losses.VICRegLoss(3, 5, 7)
    weighted = loss.terms(z1, z2)
    for name, weight in (("invariance", 3), ("variance", 5), ("covariance", 7)):
        assert weighted[name].shape == (1,)
        np.testing.assert_allclose(weighted[name][0], weight * expected[name], rtol=3e-6)
    total = sum(float(value[0]) for value in weighted.values())
    np.testing.assert_allclose(loss(z1, z2), total, rtol=1e-6)


def test_a_common_shift_does_not_matter_and_a_shift_of_one_view_costs_invariance(rng):
    z1, z2 = views(rng)
    value = float(losses.vicreg(z1, z2))
    np.testing.assert_allclose(losses.vicreg(z1 + 5, z2 + 5), value, rtol=1e-5)
    before, after = losses.vicreg_terms(z1, z2), losses.vicreg_terms(z1 + 5, z2)
    assert float(after["invariance"]) > 10
    for name in ("variance", "covariance"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5)


def test_only_the_variance_term_moves_collapsed_embeddings(rng):
    z = 1e-3 * rng.normal(size=(8, 3)).astype("float32")
    assert float(losses.vicreg(z, z, 25, 0, 1)) < 1e-9
    value, (gradient, _) = value_and_gradients(losses.VICRegLoss(), z, z)
    np.testing.assert_allclose(value, 25 * (1 - 0.01), rtol=1e-2)
    moved = z - 1e-3 * gradient
    assert np.all(moved.std(axis=0) > z.std(axis=0))


@pytest.mark.parametrize("dtype", [None, "float64"])
@pytest.mark.parametrize("embeddings", ["float16", "bfloat16", "float32"])
def test_terms_have_the_dtype_of_the_loss(rng, embeddings, dtype):
    if dtype == "float64" and BACKEND == "jax":
        pytest.skip("JAX has no float64 by default")
    z1, z2 = (ops.cast(100 * z, embeddings) for z in views(rng))
    loss = losses.VICRegLoss(dtype=dtype)
    terms = loss.terms(z1, z2)
    for value in terms.values():
        assert keras.backend.standardize_dtype(value.dtype) == (dtype or "float32")
    wide = [ops.convert_to_numpy(ops.cast(z, "float32")).astype("float64") for z in (z1, z2)]
    expected = formulas.vicreg_terms(*wide)
    for name, weight in (("invariance", 25), ("variance", 25), ("covariance", 1)):
        np.testing.assert_allclose(terms[name][0], weight * expected[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss(z1, z2), sum(float(v[0]) for v in terms.values()), rtol=1e-6)


def test_terms_validate_their_inputs():
    good = np.ones((4, 3), "float32")
    with pytest.raises(TypeError, match="dtype of `z1` must be floating-point"):
        losses.VICRegLoss().terms(good.astype("int32"), good)
    with pytest.raises(ValueError, match="at least 2 examples"):
        losses.VICRegLoss().terms(good[:1], good[:1])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs tf.distribute")
def test_terms_are_equal_on_replicas(rng, two_replicas):
    import tensorflow as tf

    z1, z2 = views(rng)
    expected = formulas.vicreg_terms(z1, z2)

    def step():
        start = 3 * tf.distribute.get_replica_context().replica_id_in_sync_group
        return losses.VICRegLoss(1, 1, 1).terms(
            *(tf.slice(z, [start, 0], [3, 4]) for z in (z1, z2))
        )

    found = tf.function(lambda: two_replicas.run(step))()
    for name, values in found.items():
        for value in two_replicas.experimental_local_results(values):
            np.testing.assert_allclose(value[0], expected[name], rtol=3e-6)
