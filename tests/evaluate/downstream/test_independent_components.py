"""Independent components of known mixtures, and the mean correlation beside a formula."""

import itertools

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.decomposition import FastICA

from keras_ssl import evaluate


@pytest.mark.parametrize("contrast", ["logcosh", "exp", "cube"])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_sources_of_a_linear_mixture_are_found_in_new_examples(rng, contrast, dtype):
    sources = rng.laplace(size=(6000, 4)) * [1.0, 5.0, 0.2, 30.0]
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    mixtures = (sources / sources.std(axis=0)) @ rotation + 3.0
    ica = evaluate.independent_components(mixtures[:4000].astype(dtype), contrast=contrast)
    found = ica.transform(mixtures[4000:])
    assert found.shape == (2000, 4)
    np.testing.assert_allclose(found.std(axis=0), 1.0, atol=0.1)
    assert evaluate.mean_correlation_coefficient(sources[4000:], found) > 0.98
    # a mixture of four has a correlation of at most 1 with one source, and is far from it with all
    assert evaluate.mean_correlation_coefficient(sources, mixtures) < 0.9


def test_components_equal_scikit_learn(rng):
    features = rng.uniform(size=(400, 6)) @ rng.normal(size=(6, 6))
    settings = {"n_components": 3, "max_iter": 500, "random_state": 7, "whiten": "unit-variance"}
    expected = FastICA(**settings).fit_transform(features)
    ica = evaluate.independent_components(features, 3, iterations=500, seed=7)
    np.testing.assert_allclose(ica.transform(features), expected, atol=1e-8)


def test_features_that_depend_on_each_other_are_rejected(rng):
    features = np.repeat(rng.normal(size=(50, 3)), 2, axis=1)
    with pytest.raises(ValueError, match=r"components=6 and rank 3 of features of shape \(50, 6\)"):
        evaluate.independent_components(features)
    found = evaluate.independent_components(features, components=3).transform(features)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(3), atol=1e-6)
    with pytest.raises(ValueError, match="components=4 and rank 3"):
        evaluate.independent_components(rng.normal(size=(4, 4)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": np.full((9, 2), np.nan)}, ValueError, "`features` must be finite"),
        ({"features": np.ones(9)}, ValueError, r"shape \(examples, dimensions\)"),
        ({"components": 0}, ValueError, "`components`"),
        ({"components": 1.5}, TypeError, "`components`"),
        ({"contrast": "tanh"}, ValueError, "`contrast` must be 'logcosh'.*'tanh'"),
        ({"iterations": 0}, ValueError, "`iterations`"),
        ({"seed": "one"}, TypeError, "`seed`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    features = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(error, match=message):
        evaluate.independent_components(**{"features": features, **arguments})


@pytest.mark.parametrize(("name", "function"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_correlation_is_that_of_the_best_permutation(rng, name, function):
    sources = np.round(rng.normal(size=(60, 3)), 1)  # with equal ranks
    estimates = np.exp(sources @ rng.normal(size=(3, 4)) + rng.normal(size=(60, 4)))
    table = [[abs(function(s, e).statistic) for e in estimates.T] for s in sources.T]
    expected = max(
        np.mean([table[i][j] for i, j in enumerate(order)])
        for order in itertools.permutations(range(4), 3)
    )
    found = evaluate.mean_correlation_coefficient(sources, estimates, name)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_order_sign_and_scale_do_not_count(rng, scale):
    sources = rng.normal(size=(50, 5)) + 1e3
    estimates = sources[:, rng.permutation(5)] * [-1, 1, -2, 3, -4] * scale
    assert evaluate.mean_correlation_coefficient(sources, estimates) == pytest.approx(1.0, abs=1e-9)


def test_ranks_do_not_change_under_increasing_functions(rng):
    sources = rng.normal(size=(80, 2))
    spearman = evaluate.mean_correlation_coefficient(sources, np.exp(4 * sources), "spearman")
    assert spearman == pytest.approx(1.0)
    assert evaluate.mean_correlation_coefficient(sources, np.exp(4 * sources)) < 0.8


def test_a_vector_is_one_source():
    x = np.array([0, 1, 2, 5])
    assert evaluate.mean_correlation_coefficient(x, -x[:, None]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("sources", "estimates", "message"),
    [
        (np.eye(4), np.eye(3), "same examples, at least 2. Received: 4 and 3"),
        (np.eye(4), np.eye(4)[:, :3], "Received: 3 estimates and 4 sources"),
        (np.eye(4), np.full((4, 4), np.nan), "`estimates` must be finite"),
        (np.eye(4) * [1, 1, 0, 0], np.eye(4), "2 constant of 4 columns.*column 2"),
        (np.ones((4, 1)), np.eye(4), "columns of `sources` must vary"),
        (np.eye(4), np.full((4, 4), 0.1), "columns of `estimates` must vary"),
        (np.zeros((1, 2)), np.zeros((1, 2)), "`sources` must vary"),
        (np.zeros((4, 2, 2)), np.eye(4), r"shape \(examples, dimensions\)"),
        (np.zeros((0, 2)), np.eye(4), "at least one example"),
    ],
)
def test_sources_without_correlations_are_rejected(sources, estimates, message):
    with pytest.raises(ValueError, match=message):
        evaluate.mean_correlation_coefficient(sources, estimates)
    with pytest.raises(ValueError, match="`correlation` must be 'pearson' or 'spearman'"):
        evaluate.mean_correlation_coefficient(sources, estimates, "kendall")
