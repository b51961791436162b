import keras
import numpy as np
import pytest

from keras_ssl import losses
from tests.losses import formulas
from tests.losses.gradients import value_and_gradients
from tests.losses.test_two_view_losses import GOOD, views


def test_values_by_example(rng):
    p, z = views(rng)
    expected = formulas.negative_cosine_similarity(p, z)
    np.testing.assert_allclose(losses.negative_cosine_similarity(p, z), expected, rtol=1e-6)
    weights = rng.uniform(size=6).astype("float32")
    weighted = losses.NegativeCosineSimilarity()(p, z, sample_weight=weights)
    np.testing.assert_allclose(weighted, np.mean(weights * expected), rtol=1e-5)


def test_equals_keras_for_ordinary_embeddings(rng):
    p, z = views(rng)
    expected = keras.losses.CosineSimilarity()(z, p)
    np.testing.assert_allclose(losses.NegativeCosineSimilarity()(p, z), expected, rtol=1e-6)


def test_rows_of_zeros_have_no_gradient(rng):
    p, z = views(rng)
    p[0] = 0
    value, (gradient, _) = value_and_gradients(losses.NegativeCosineSimilarity(), p, z)
    rest = formulas.negative_cosine_similarity(p[1:], z[1:]).sum()
    np.testing.assert_allclose(value, rest / 6, rtol=1e-6)
    np.testing.assert_array_equal(gradient[0], 0)


def test_one_example_is_enough():
    np.testing.assert_allclose(losses.NegativeCosineSimilarity()(GOOD[:1], -GOOD[:1]), 1)


def test_errors_name_predictions_and_targets():
    with pytest.raises(ValueError, match="`predictions` and `targets` must have the same shape"):
        losses.NegativeCosineSimilarity()(GOOD, GOOD[:1])
