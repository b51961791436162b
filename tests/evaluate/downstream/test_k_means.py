"""k-means beside scikit-learn's from the same centers."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from keras_ssl import evaluate
from keras_ssl.evaluate.downstream import k_means as module


def blobs(rng, clusters=6, count=600, dim=5, spread=1.0):
    centers = 3 * rng.normal(size=(clusters, dim))
    labels = rng.integers(clusters, size=count)
    return (centers[labels] + spread * rng.normal(size=(count, dim))).astype("float32"), labels


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("at_once", [2**22, 300])
def test_equals_scikit_learn_from_the_same_centers(rng, monkeypatch, offset, at_once):
    monkeypatch.setattr(module, "_DISTANCES_AT_ONCE", at_once)
    x = blobs(rng)[0] + np.float32(offset)
    first = x[:8]
    reference = KMeans(8, init=first, n_init=1, tol=0, max_iter=300).fit(x.astype("float64"))
    result = evaluate.k_means(x, 8, centers=first)
    np.testing.assert_array_equal(result.clusters, reference.labels_)
    np.testing.assert_allclose(result.centers, reference.cluster_centers_, rtol=1e-5, atol=1e-4)
    assert result.inertia == pytest.approx(reference.inertia_, rel=1e-4)
    assert result.clusters.dtype == np.int64 and result.iterations > 2


def test_few_iterations_equal_those_of_scikit_learn(rng):
    x, _ = blobs(rng, spread=3.0)
    one = KMeans(8, init=x[:8], n_init=1, tol=0, max_iter=3).fit(x.astype("float64"))
    result = evaluate.k_means(x, 8, centers=x[:8], iterations=3)
    np.testing.assert_allclose(result.centers, one.cluster_centers_, atol=1e-4)
    assert result.inertia == pytest.approx(one.inertia_, rel=1e-5) and result.iterations == 3


def test_an_empty_cluster_moves_as_in_scikit_learn(rng):
    x, _ = blobs(rng)
    first = np.concatenate([x[:5], np.full((1, 5), 1e3)]).astype("float32")
    reference = KMeans(6, init=first, n_init=1, tol=0).fit(x.astype("float64"))
    result = evaluate.k_means(x, 6, centers=first)
    assert result.inertia == pytest.approx(reference.inertia_, rel=1e-5)
    assert len(np.unique(result.clusters)) == 6


def test_drawn_centers_are_as_good_as_those_of_scikit_learn(rng):
    x, labels = blobs(rng, clusters=12, spread=0.3)
    best = KMeans(12, n_init=5, random_state=0).fit(x.astype("float64")).inertia_
    result = evaluate.k_means(x, 12, restarts=5)
    assert result.inertia == pytest.approx(best, rel=1e-3)
    again = evaluate.k_means(x, 12, restarts=5)
    np.testing.assert_array_equal(result.clusters, again.clusters)
    worse = [evaluate.k_means(x, 12, restarts=1, seed=seed).inertia for seed in range(2)]
    assert min(worse) >= 0.999 * best
    assert evaluate.clustering_metrics(labels, result.clusters)["accuracy"] > 0.99


def test_spherical_clusters_are_those_of_directions(rng):
    x, _ = blobs(rng, spread=0.5)
    scaled = x * rng.uniform(0.1, 10, size=(len(x), 1))
    result = evaluate.k_means(scaled, 6, spherical=True)
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    for number, center in enumerate(result.centers):
        mean = units[result.clusters == number].mean(axis=0)
        np.testing.assert_allclose(center, mean / np.linalg.norm(mean), atol=1e-5)
    cosines = units @ result.centers.T
    np.testing.assert_array_equal(result.clusters, cosines.argmax(axis=1))
    assert result.inertia == pytest.approx(2 * np.sum(1 - cosines.max(axis=1)), rel=1e-4)


def test_as_many_clusters_as_examples_and_equal_examples(rng):
    x = rng.normal(size=(7, 3))
    assert evaluate.k_means(x, 7).inertia == pytest.approx(0, abs=1e-8)
    assert evaluate.k_means(x, 1).inertia == pytest.approx(np.sum((x - x.mean(0)) ** 2), rel=1e-5)
    with pytest.warns(UserWarning, match="found 2 clusters in place of 3"):
        evaluate.k_means(np.repeat(x[:2], 5, axis=0), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": np.full((5, 2), np.nan)}, "`features` must be finite"),
        ({"clusters": 6}, "clusters=6 and 5 examples"),
        ({"centers": np.ones((3, 2))}, "2 rows, one for each cluster"),
        ({"centers": np.ones((2, 3))}, "same number of dimensions"),
        ({"features": np.zeros((5, 2)), "spherical": True}, "must have directions"),
        ({"restarts": 0}, "`restarts` must be a positive"),
        ({"iterations": 0}, "`iterations` must be a positive"),
    ],
)
def test_bad_input(rng, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate.k_means(**{"features": rng.normal(size=(5, 2)), "clusters": 2} | arguments)
