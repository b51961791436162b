"""k-means on the device."""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.evaluate._compiled import compiled
from keras_ssl.evaluate._forward import check_features
from keras_ssl.evaluate._units import check_widths, unit_features
from keras_ssl.evaluate.downstream._exact_float32 import exact_float32

if keras.backend.backend() == "jax":
    from jax.numpy import argmin
else:
    from tensorflow import argmin

# 2^22 distances in float32 take 16 MB
_DISTANCES_AT_ONCE = 2**22


class KMeansResult(NamedTuple):
    """Clusters of examples.

    Attributes:
        clusters: the cluster of each example, integers from 0.
        centers: array `(clusters, dimensions)`: the mean of each cluster, or its direction.
        inertia: sum of the squared distances of the examples from their centers.
        iterations: how often centers were computed in the run that was best.
    """

    clusters: np.ndarray
    centers: np.ndarray
    inertia: float
    iterations: int


def k_means(
    features: Any,
    clusters: int,
    spherical: bool = False,
    centers: Any = None,
    restarts: int = 5,
    iterations: int = 300,
    seed: int = 0,
) -> KMeansResult:
    r"""Cluster features by k-means.

    Examples go to the nearest center, centers to the mean of their examples (Lloyd's algorithm),
    until no example changes its cluster. What is reduced is the inertia

    $$\sum_i \min_c \lVert f_i - \mu_c \rVert^2$$

    Products of features and centers are computed on the device, in blocks; sums are float64. From
    the same centers, the result is that of scikit-learn's `KMeans`, which runs on the CPU and has
    no spherical version. A center without examples moves to the example that is furthest from its
    own, as there.

    Args:
        features: array of shape `(examples, dimensions)`.
        clusters: number of clusters, at most that of the examples.
        spherical: whether features and centers are scaled to length 1, so that cosines decide, as
            for embeddings of contrastive methods.
        centers: the first centers `(clusters, dimensions)`. `None` draws them by greedy k-means++:
            each is an example, drawn with a probability that is proportional to its squared
            distance from those before it, of several the one that reduces the inertia most.
        restarts: number of runs from other first centers, of which the one with the smallest
            inertia is returned. With `centers` there is one.
        iterations: largest number of times that centers are computed in a run.
        seed: seed of the draws.

    Returns:
        A `keras_ssl.evaluate.KMeansResult`: `(clusters, centers, inertia, iterations)`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if features are not finite or, with `spherical=True`, have a row of zeros, there
            are more clusters than examples, `centers` do not fit, or a number is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> features = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    >>> result = evaluate.k_means(features, 2)
    >>> len(set(result.clusters[:2])), len(set(result.clusters)), result.inertia
    (1, 2, 1.0)

    Reference:
        - [Arthur & Vassilvitskii, k-means++](https://dl.acm.org/doi/10.5555/1283383.1283494)
        - [Dhillon & Modha, Concept Decompositions for Large Sparse Text Data Using Clustering](
          https://doi.org/10.1023/A:1007612920971), spherical k-means
    """
    clusters = checks.integer("clusters", clusters, minimum=1)
    restarts = checks.integer("restarts", restarts, minimum=1)
    iterations = checks.integer("iterations", iterations, minimum=1)
    seed = checks.integer("seed", seed, minimum=0)
    features = (unit_features if spherical else check_features)(features, "features")
    if clusters > len(features):
        raise ValueError(
            "`clusters` must not exceed the number of examples. "
            f"Received: clusters={clusters} and {len(features)} examples"
        )
    if centers is not None:
        centers = (unit_features if spherical else check_features)(centers, "centers")
        check_widths(features, centers, ("features", "centers"))
        if len(centers) != clusters:
            raise ValueError(
                f"`centers` must have {clusters} rows, one for each cluster. "
                f"Received: shape {centers.shape}"
            )
        restarts = 1
    points = _Points(features, clusters, spherical)
    random = np.random.default_rng(seed)
    runs = (
        points.run(points.first_centers(random) if centers is None else centers, iterations)
        for _ in range(restarts)
    )
    best = min(runs, key=lambda run: run.inertia)
    used = len(np.unique(best.clusters))
    if used < clusters:
        warnings.warn(
            f"k_means found {used} clusters in place of {clusters}: there are no more different "
            "features.",
            stacklevel=2,
        )
    return best


class _Points:
    """Features in blocks on the device, less their mean: small numbers lose fewer digits."""

    def __init__(self, features: np.ndarray, clusters: int, spherical: bool):
        self._spherical = spherical
        self._clusters = clusters
        self._features = features
        width = features.shape[1]
        self._shift = np.zeros(width) if spherical else features.mean(axis=0, dtype="float64")
        rows = max(1, _DISTANCES_AT_ONCE // max(clusters, width))
        self._slices = [slice(i, i + rows) for i in range(0, len(features), rows)]
        self._blocks = [
            ops.convert_to_tensor((features[rows] - self._shift).astype("float32"))
            for rows in self._slices
        ]

    def run(self, centers: np.ndarray, iterations: int) -> KMeansResult:
        """Return what Lloyd's algorithm makes of centers."""
        centers = centers - self._shift
        nearest, distances, sums = self._assign(centers)
        for iteration in range(1, iterations + 1):  # noqa: B007
            centers = self._means(nearest, distances, sums)
            before = nearest
            nearest, distances, sums = self._assign(centers)
            if np.array_equal(nearest, before):
                break
        inertia = sum(
            np.sum(np.square(np.asarray(block) - centers[nearest[rows]]))
            for rows, block in zip(self._slices, self._blocks, strict=True)
        )
        centers = (centers + self._shift).astype("float32")
        return KMeansResult(nearest.astype("int64"), centers, float(inertia), iteration)

    def first_centers(self, random: np.random.Generator) -> np.ndarray:
        """Draw centers by greedy k-means++."""
        trials = 2 + int(np.log(self._clusters))
        chosen = [random.integers(len(self._features))]
        nearest = self._distances(chosen)[:, 0]
        while len(chosen) < self._clusters:
            total = nearest.cumsum()
            if total[-1] > 0:
                drawn = np.searchsorted(total, random.random(trials) * total[-1], side="right")
                drawn = np.minimum(drawn, len(nearest) - 1)
            else:  # all examples are centers already
                drawn = random.integers(len(nearest), size=1)
            reduced = np.minimum(nearest[:, None], self._distances(drawn))
            best = reduced.sum(axis=0).argmin()
            chosen.append(drawn[best])
            nearest = reduced[:, best]
        return self._features[chosen]

    def _distances(self, rows: Any) -> np.ndarray:
        """Return squared distances of all examples from some of them."""
        others = ops.convert_to_tensor((self._features[rows] - self._shift).astype("float32"))
        with exact_float32():
            parts = [_squared_distances(block, others) for block in self._blocks]
        distances = np.maximum(np.concatenate(parts), 0.0).astype("float64")
        distances[rows, np.arange(len(rows))] = 0.0
        return distances

    def _assign(self, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return nearest centers, squared distances from them, and sums of clusters."""
        centers = ops.convert_to_tensor(centers.astype("float32"))
        parts, sums = [], 0.0
        for block in self._blocks:
            with exact_float32():
                nearest, distances, of_block = _assign(block, centers)
            parts.append((np.asarray(nearest), np.asarray(distances)))
            sums = sums + np.asarray(of_block).astype("float64")
        nearest, distances = (np.concatenate(part) for part in zip(*parts, strict=True))
        return nearest, distances, sums

    def _means(self, nearest: np.ndarray, distances: np.ndarray, sums: np.ndarray) -> np.ndarray:
        counts = np.bincount(nearest, minlength=self._clusters).astype("float64")
        for empty, row in self._moves(counts, distances):
            point = self._features[row] - self._shift
            sums[nearest[row]] -= point
            counts[nearest[row]] -= 1
            sums[empty], counts[empty] = point, 1
        means = sums / np.maximum(counts, 1)[:, None]
        if self._spherical:
            means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return means

    def _moves(self, counts: np.ndarray, distances: np.ndarray) -> Iterator[tuple[int, int]]:
        """Yield centers without examples, and the example that each moves to."""
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            furthest = np.argsort(-distances, kind="stable")[: len(empty)]
            yield from (
                pair for pair in zip(empty, furthest, strict=True) if distances[pair[1]] > 0
            )


@compiled()
def _squared_distances(points: Any, centers: Any) -> Any:
    squares = [ops.sum(ops.square(one), axis=1) for one in (points, centers)]
    return squares[0][:, None] + squares[1] - 2 * ops.matmul(points, ops.transpose(centers))


@compiled()
def _assign(points: Any, centers: Any) -> tuple[Any, Any, Any]:
    distances = _squared_distances(points, centers)
    nearest = ops.cast(argmin(distances, axis=1), "int32")  # Keras' looks for negative zeros first
    sums = ops.segment_sum(points, nearest, ops.shape(centers)[0])
    return nearest, ops.maximum(ops.min(distances, axis=1), 0.0), sums
