"""Clusters of directions, beside a float64 loop and scikit-learn's means."""

import numpy as np
import pytest

from keras_ssl.trainers.clustering.spherical_k_means import spherical_k_means


def directions(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def k_means_float64(points, centroids, iterations):
    """One cluster at a time."""
    for _ in range(iterations):
        nearest = np.argmax(points @ centroids.T, axis=1)
        for k in range(len(centroids)):
            if np.any(nearest == k):
                total = points[nearest == k].sum(axis=0)
                centroids[k] = total / np.linalg.norm(total)
    return centroids, np.argmax(points @ centroids.T, axis=1)


def blobs(rng, count=60, dim=6, clusters=4, spread=0.1):
    labels = np.arange(count) % clusters
    return np.eye(dim)[labels] + rng.normal(0, spread, (count, dim)), labels


@pytest.mark.parametrize("chunk_size", [7, 8192])
def test_equals_a_float64_loop(rng, chunk_size):
    points = rng.normal(size=(60, 6))
    expected, labels = k_means_float64(directions(points), directions(points[:5]), 6)
    points = points.astype("float32")
    centroids, nearest = spherical_k_means(points, points[:5], 6, chunk_size)
    np.testing.assert_allclose(centroids, expected, atol=1e-5)
    np.testing.assert_array_equal(nearest, labels)


def test_finds_the_clusters_that_scikit_learn_finds(rng):
    cluster = pytest.importorskip("sklearn.cluster")
    points, labels = blobs(rng)
    centroids, nearest = spherical_k_means(points.astype("float32"), points[:4].astype("float32"))
    means = cluster.KMeans(4, init=directions(points[:4]), n_init=1).fit(directions(points))
    np.testing.assert_array_equal(nearest, means.labels_)
    np.testing.assert_array_equal(nearest, labels)
    # of the points of one cluster, the mean has the direction of the sum
    np.testing.assert_allclose(centroids, directions(means.cluster_centers_), atol=1e-5)


def test_a_centroid_without_points_stays(rng):
    points = np.abs(rng.normal(size=(20, 3))).astype("float32")
    start = np.array([[1, 1, 1], [-1, -1, -1]], "float32")
    centroids, nearest = spherical_k_means(points, start, 3)
    assert np.all(np.asarray(nearest) == 0)
    np.testing.assert_allclose(centroids[1], start[1] / np.sqrt(3), rtol=1e-6)
    assert np.abs(centroids[0] - start[0] / np.sqrt(3)).max() > 1e-3


def test_no_iteration_assigns_to_where_it_starts(rng):
    points = rng.normal(size=(20, 3)).astype("float32")
    centroids, nearest = spherical_k_means(points, points[:2], 0)
    np.testing.assert_allclose(centroids, directions(points[:2]), rtol=1e-6)
    np.testing.assert_array_equal(nearest, np.argmax(points @ directions(points[:2]).T, axis=1))
