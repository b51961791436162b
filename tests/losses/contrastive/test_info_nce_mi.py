import keras
import numpy as np
import pytest

from keras_ssl import losses
from tests.losses import view_formulas as formulas

# value, gradient, replicas and extremes: test_view_losses.py


def features(rng, places=(3, 2)):
    summary = rng.normal(size=(6, 4))
    local = summary.reshape(6, *[1] * len(places), 4) + rng.normal(size=(6, *places, 4))
    return local.astype("float32"), summary.astype("float32")


@pytest.mark.parametrize("places", [(), (5,), (3, 2), (2, 2, 2)])
def test_equals_the_formula_over_the_places_of_maps(rng, places):
    local, summary = features(rng, places)
    expected = formulas.info_nce_mi(local, summary)
    np.testing.assert_allclose(losses.info_nce_mi(local, summary), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.InfoNCEMI()(local, summary), expected.mean(), rtol=1e-5)


def test_uninformative_features_give_the_log_of_the_number_of_candidates(rng):
    local, summary = features(rng)
    values = losses.info_nce_mi(local, 0 * summary)
    np.testing.assert_allclose(values, np.full(6, np.log(5 * 6 + 1)), rtol=1e-6)


def test_perfect_features_give_zero():
    own = 100 * np.eye(6, dtype="float32")
    np.testing.assert_allclose(losses.info_nce_mi(own, own), np.zeros(6), atol=1e-6)


def test_examples_have_weights(rng):
    local, summary = features(rng)
    weights = np.array([1.0, 0, 2, 0, 0, 3], "float32")
    value = losses.InfoNCEMI()(local, summary, sample_weight=weights)
    expected = np.mean(weights * formulas.info_nce_mi(local, summary))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


GOOD = np.ones((4, 3), "float32")


@pytest.mark.parametrize(
    ("local", "summary", "error", "message"),
    [
        (None, GOOD, ValueError, "local_features=None"),
        (GOOD, GOOD[None], ValueError, "`global_features` must have rank 2"),
        (GOOD[:3], GOOD, ValueError, r"same examples and width.*\(3, 3\).*\(4, 3\)"),
        (GOOD[:1], GOOD[:1], ValueError, r"Negatives are needed.*\(1, 3\)"),
        (GOOD.astype("int32"), GOOD, TypeError, "`local_features`.*int32"),
    ],
)
def test_bad_features(local, summary, error, message):
    for loss in (losses.InfoNCEMI(), losses.info_nce_mi):
        with pytest.raises(error, match=message):
            loss(local, summary)


def test_registered_name():
    assert keras.saving.get_registered_name(losses.InfoNCEMI) == "keras_ssl>InfoNCEMI"
