"""How near generated examples come to data: distances of their features, precision and recall."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import Batches, as_batches
from keras_ssl.evaluate._forward import Forward, check_features, forward_function
from keras_ssl.evaluate.features import features_of_batches

# 2^22 values of a kernel in float64 take 32 MB
_VALUES_AT_ONCE = 2**22


def frechet_distance(
    encoder: keras.layers.Layer | Callable,
    real: Any,
    generated: Any,
    batch_size: int = 256,
    verbose: int = 0,
) -> float:
    r"""Compute the Fréchet distance of the features of generated examples from those of data.

    With the means $\mu$ and covariances $\Sigma$ of both sets of features, it is the squared
    Wasserstein distance of the two normal distributions:

    $$|\mu_r - \mu_g|^2 + \mathrm{Tr}\big(\Sigma_r + \Sigma_g - 2 (\Sigma_r \Sigma_g)^{1/2}\big)$$

    With the features of Inception v3 it is called the Fréchet Inception distance (FID). Values of
    different encoders cannot be compared. Few examples make it too large, so compare only values of
    equal numbers of examples, several times as many as features have dimensions.

    Means and covariances are added up in float64 over the batches: features are not kept.

    Args:
        encoder: a `keras.Model` or Keras layer, called with `training=False`, or any function of a
            batch that returns features, such as `keras_ssl.evaluate.raw_pixels`.
        real: data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `x` or `(x, y)`, an
            array, or a tuple of arrays `(x, y)`. Labels are left aside.
        generated: generated examples, in the same form and of the same scale of values.
        batch_size: examples per batch if the data is arrays.
        verbose: 1 for progress bars, 0 for silence.

    Returns:
        The distance, at least 0.

    Raises:
        TypeError: if `encoder` is not callable or does not return one tensor.
        ValueError: if data is empty, infinite or not batched, a set has fewer than 2 examples, or
            features are not finite or of two widths.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> real = np.random.default_rng(0).normal(size=(100, 2)).astype("float32")
    >>> round(evaluate.frechet_distance(evaluate.raw_pixels, real, real + [3, 0]), 3)
    9.0

    Reference:
        [Heusel et al., 2017](https://arxiv.org/abs/1706.08500)
    """
    moments = []
    for batches, forward in _two_sets(encoder, real, generated, batch_size):
        total = _Moments()
        for features in _features(forward, batches, verbose):
            total.add(features)
        _check_count(total.count, 2, batches.name)
        moments.append(total)
    one, other = moments
    _check_widths(len(one.mean), len(other.mean))
    covariances = [total.scatter / (total.count - 1) for total in moments]
    # Tr (AB)^(1/2) is the sum of the singular values of A^(1/2) B^(1/2)
    roots = [_root(one) for one in covariances]
    overlap = np.linalg.svd(roots[0] @ roots[1], compute_uv=False).sum()
    spread = sum(np.trace(one) for one in covariances) - 2 * overlap
    return float(max(np.sum((one.mean - other.mean) ** 2) + spread, 0.0))


def kernel_distance(
    encoder: keras.layers.Layer | Callable,
    real: Any,
    generated: Any,
    batch_size: int = 256,
    verbose: int = 0,
) -> float:
    r"""Compute the kernel distance of the features of generated examples from those of data.

    It is the squared maximum mean discrepancy of a polynomial kernel, with $d$ dimensions:

    $$\frac{1}{n (n - 1)} \sum_{i \ne j} k(r_i, r_j) + \frac{1}{m (m - 1)} \sum_{i \ne j}
    k(g_i, g_j) - \frac{2}{n m} \sum_{i, j} k(r_i, g_j), \qquad k(a, b) = (a \cdot b / d + 1)^3$$

    With the features of Inception v3 it is called the kernel Inception distance (KID). The estimate
    is unbiased, so its expectation does not depend on the number of examples, and may be negative.
    It is that of all pairs, where the paper averages over subsets of 1,000: its expectation is the
    same and its variance smaller. The time grows with the square of the number of examples.

    Args:
        encoder: as in `keras_ssl.evaluate.frechet_distance`.
        real: data, as in `keras_ssl.evaluate.frechet_distance`.
        generated: generated examples, in the same form and of the same scale of values.
        batch_size: examples per batch if the data is arrays.
        verbose: 1 for progress bars, 0 for silence.

    Returns:
        The distance.

    Raises:
        TypeError: if `encoder` is not callable or does not return one tensor.
        ValueError: if data is empty, infinite or not batched, a set has fewer than 2 examples, or
            features are not finite or of two widths.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> real = np.array([[1.0], [-1.0]])
    >>> evaluate.kernel_distance(evaluate.raw_pixels, real, np.array([[1.0], [1.0]]))
    0.0

    Reference:
        [Bińkowski et al., 2018](https://arxiv.org/abs/1801.01401)
    """
    real, generated = _all_features(encoder, real, generated, batch_size, verbose, minimum=2)
    return float(
        _mean_of_pairs(real) + _mean_of_pairs(generated) - 2 * _mean_kernel(real, generated)
    )


def precision_recall(
    encoder: keras.layers.Layer | Callable,
    real: Any,
    generated: Any,
    k: int = 3,
    batch_size: int = 256,
    verbose: int = 0,
) -> tuple[float, float]:
    """Compute which share of generated examples is like data, and which share of data is covered.

    The features of a set span the union of the balls around each of them, up to its k-th nearest
    neighbour in the set. Precision is the share of generated examples whose features lie in the
    union of the data, recall the share of the data whose features lie in that of the generated
    examples. A generator of few but good examples has a high precision and a low recall.

    Args:
        encoder: as in `keras_ssl.evaluate.frechet_distance`.
        real: data, as in `keras_ssl.evaluate.frechet_distance`.
        generated: generated examples, in the same form and of the same scale of values. Both
            numbers depend on the numbers of examples, which should be equal.
        k: number of the neighbour that a ball reaches up to.
        batch_size: examples per batch if the data is arrays.
        verbose: 1 for progress bars, 0 for silence.

    Returns:
        `(precision, recall)`, both from 0 to 1.

    Raises:
        TypeError: if `encoder` is not callable or does not return one tensor.
        ValueError: if data is empty, infinite or not batched, `k` is not positive, a set has no
            more than `k` examples, or features are not finite or of two widths.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> real, generated = np.array([[0.0], [1.0], [5.0], [6.0]]), np.array([[0.5], [0.8]])
    >>> evaluate.precision_recall(evaluate.raw_pixels, real, generated, k=1)
    (1.0, 0.25)

    Reference:
        [Kynkäänniemi et al., 2019](https://arxiv.org/abs/1904.06991)
    """
    k = checks.integer("k", k, minimum=1)
    sets = _all_features(encoder, real, generated, batch_size, verbose, minimum=k + 1)
    real, generated = (one.astype("float64") for one in sets)
    return _share_within(generated, real, k), _share_within(real, generated, k)


def _two_sets(
    encoder: keras.layers.Layer | Callable, real: Any, generated: Any, batch_size: int
) -> list[tuple[Batches, Forward]]:
    """Return both sets as checked batches, before the first is encoded, and the encoder."""
    forward = forward_function(encoder)
    named = (("real", real), ("generated", generated))
    return [(as_batches(data, name, batch_size), forward) for name, data in named]


def _features(forward: Forward, batches: Batches, verbose: int) -> Iterator[np.ndarray]:
    for features, _ in features_of_batches(forward, batches, verbose):
        yield check_features(features, batches.name)


def _all_features(
    encoder: Any, real: Any, generated: Any, batch_size: int, verbose: int, minimum: int
) -> list[np.ndarray]:
    """Return the features of both sets, `(examples, dimensions)`."""
    found = []
    for batches, forward in _two_sets(encoder, real, generated, batch_size):
        features = np.concatenate(list(_features(forward, batches, verbose)))
        _check_count(len(features), minimum, batches.name)
        found.append(features)
    _check_widths(*(one.shape[1] for one in found))
    return found


def _check_count(count: int, minimum: int, name: str) -> None:
    if count < minimum:
        raise ValueError(f"`{name}` must hold at least {minimum} examples. Received: {count}")


def _check_widths(real: int, generated: int) -> None:
    if real != generated:
        raise ValueError(
            "`real` and `generated` must have features of one width: pass examples of one shape. "
            f"Received: {real} and {generated} dimensions"
        )


class _Moments:
    """Number, mean and scatter matrix of features, which batches are added to one by one."""

    def __init__(self) -> None:
        self.count, self.mean, self.scatter = 0, 0.0, 0.0

    def add(self, features: np.ndarray) -> None:
        """Add the features of a batch, by the exact formula for the union of two sets."""
        features = features.astype("float64")
        count, mean = len(features), features.mean(axis=0)
        total, shift = self.count + count, mean - self.mean
        scatter = (features - mean).T @ (features - mean)
        between = np.outer(shift, shift) * (self.count * count / total)
        self.scatter = self.scatter + scatter + between
        self.mean = self.mean + shift * (count / total)
        self.count = total


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a covariance matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _mean_kernel(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean of the kernel over all pairs of a row of `x` and a row of `y`."""
    x, y = x.astype("float64"), y.astype("float64")
    block = max(1, _VALUES_AT_ONCE // len(y))
    total = sum(
        np.sum((x[start : start + block] @ y.T / x.shape[1] + 1) ** 3)
        for start in range(0, len(x), block)
    )
    return total / (len(x) * len(y))


def _mean_of_pairs(x: np.ndarray) -> float:
    """Return the mean of the kernel over the pairs of two different rows."""
    count = len(x)
    with_itself = np.sum((np.sum(x.astype("float64") ** 2, axis=1) / x.shape[1] + 1) ** 3)
    return (_mean_kernel(x, x) * count**2 - with_itself) / (count * (count - 1))


def _share_within(x: np.ndarray, reference: np.ndarray, k: int) -> float:
    """Return the share of rows of `x` within the balls of a reference set."""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    # without the point itself
    neighbours = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference).kneighbors()
    radii = neighbours[0][:, -1]
    within = pairwise_distances_chunked(
        x, reference, reduce_func=lambda distances, _: (distances <= radii).any(axis=1)
    )
    return float(np.mean(np.concatenate(list(within))))
