"""Mixture and product of probabilities beside their formulas and scikit-learn."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from keras_ssl import evaluate


def probabilities(rng, models=3, examples=20, classes=4):
    return softmax(2 * rng.normal(size=(models, examples, classes)), axis=-1)


@pytest.mark.parametrize("shape", [None, (3,), (3, 20)])
def test_formulas(rng, shape):
    given = probabilities(rng)
    weights = None if shape is None else rng.uniform(0.1, 3, size=shape)
    each = np.ones((3, 20)) if shape is None else weights.reshape(3, -1) * np.ones((3, 20))
    mixture = sum(each[m][:, None] * given[m] for m in range(3)) / each.sum(axis=0)[:, None]
    product = np.prod([given[m] ** each[m][:, None] for m in range(3)], axis=0)
    product /= product.sum(axis=1, keepdims=True)
    found = evaluate.mixture_of_experts(list(given), weights)
    np.testing.assert_allclose(found, mixture, rtol=1e-12)
    np.testing.assert_allclose(evaluate.product_of_experts(given, weights), product, rtol=1e-10)


def test_mixture_equals_soft_voting_of_scikit_learn(rng):
    y = rng.integers(3, size=90)
    x = rng.normal(size=(90, 2)) + y[:, None]
    models = [LogisticRegression().fit(x, y), GaussianNB().fit(x, y)]
    voting = VotingClassifier([("a", models[0]), ("b", models[1])], voting="soft", weights=[2, 1])
    expected = voting.fit(x, y).predict_proba(x)
    found = evaluate.mixture_of_experts([model.predict_proba(x) for model in models], [2, 1])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_product_of_normal_densities_on_a_grid_is_the_normal_density_of_the_summed_precisions():
    grid = np.linspace(-20, 20, 4001)
    densities = []
    for mean, variance in ((-1.0, 2.0), (3.0, 0.5)):
        density = np.exp(-((grid - mean) ** 2) / (2 * variance))
        densities.append([density / density.sum()])
    (found,) = evaluate.product_of_experts(densities)
    precision = 1 / 2.0 + 1 / 0.5
    mean = np.sum(found * grid)
    assert mean == pytest.approx((-1.0 / 2.0 + 3.0 / 0.5) / precision)
    assert np.sum(found * (grid - mean) ** 2) == pytest.approx(1 / precision)


def test_geometric_means_do_not_change_what_models_agree_on(rng):
    (one,) = probabilities(rng, 1)
    same = evaluate.product_of_experts([one, one, one], [1 / 3] * 3)
    np.testing.assert_allclose(same, one, rtol=1e-10)
    tiny = np.full((1, 200), 1e-300)
    tiny[0, 0] = 1 - tiny[0, 1:].sum()
    (found,) = evaluate.product_of_experts([tiny] * 5)  # the product underflows
    assert found[0] == 1.0 and np.isfinite(found).all()


def test_a_veto_of_one_model():
    sure, other = [[1.0, 0.0], [0.5, 0.5]], [[0.1, 0.9], [0.0, 1.0]]
    found = evaluate.product_of_experts([sure, other])
    np.testing.assert_allclose(found, [[1, 0], [0, 1]], atol=1e-15)
    np.testing.assert_allclose(evaluate.product_of_experts([sure, other], [0, 1]), other)
    with pytest.raises(ValueError, match="none for 1 of 2 examples, the first of which is 1"):
        evaluate.product_of_experts([sure, [[0.5, 0.5], [0, 1]], [[0.5, 0.5], [1, 0]]])


@pytest.mark.parametrize(
    "function", [evaluate.mixture_of_experts, evaluate.product_of_experts], ids=lambda f: f.__name__
)
def test_bad_input(rng, function):
    given = probabilities(rng)
    for wrong in ([], given[0], [given[0], given[1][:5]], given[:, :0]):
        with pytest.raises(ValueError, match=r"one shape \(examples, classes\)"):
            function(wrong)
    for wrong in (given * np.nan, given - 0.5):
        with pytest.raises(ValueError, match="must be finite and at least 0"):
            function(wrong)
    with pytest.raises(ValueError, match="must have the sum 1"):
        function(2 * given)
    np.testing.assert_allclose(function(given.astype("float16")), function(given), atol=0.01)
    for weights in ([1, 2], 1.0, np.ones((3, 4))):
        with pytest.raises(ValueError, match="`weights` must have shape"):
            function(given, weights)
    for weights in ([1, 1, -1], [0, 0, 0], [1, 1, np.inf]):
        with pytest.raises(ValueError, match="`weights` must be finite"):
            function(given, weights)
