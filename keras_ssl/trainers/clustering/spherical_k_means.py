"""Clusters of directions."""

from typing import Any

from keras import ops

from keras_ssl.ops import l2_normalize


def spherical_k_means(
    points: Any, centroids: Any, iterations: int = 10, chunk_size: int = 8192
) -> tuple[Any, Any]:
    """Cluster points by the angles between them.

    With points x_i and centroids c_k, all of length 1, an iteration is

        a_i = argmax_k c_k · x_i,  c_k = normalize(Σ_{i: a_i = k} x_i)

    A centroid without points stays where it is. scikit-learn has no such clustering: its centroids
    are means, which are shorter the wider a cluster is.

    Args:
        points: `(n, dim)`; they are normalised.
        centroids: `(clusters, dim)`, where to start; they are normalised.
        iterations: how often centroids move.
        chunk_size: of how many points similarities with all centroids are held at a time.

    Returns:
        The centroids, `(clusters, dim)`, and the number of the nearest one of each point, `(n,)`,
        int32.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.trainers.clustering.spherical_k_means import spherical_k_means
    >>> points = np.array([[1.0, 0.1], [1.0, -0.1], [0.1, 1.0]], "float32")
    >>> centroids, nearest = spherical_k_means(points, points[1:])
    >>> np.round(centroids, 2).tolist(), np.asarray(nearest).tolist()
    ([[1.0, 0.0], [0.10000000149011612, 1.0]], [0, 0, 1])

    Reference:
        - [Dhillon & Modha, Concept Decompositions for Large Sparse Text Data using
          Clustering](https://doi.org/10.1023/A:1007612920971)
    """
    points, centroids = l2_normalize(points), l2_normalize(centroids)
    chunks = [points[i : i + chunk_size] for i in range(0, points.shape[0], chunk_size)]
    for _ in range(iterations):
        total = ops.zeros_like(centroids)
        for chunk in chunks:
            # a product sums in the same order every time, which scattering on a GPU does not
            members = ops.one_hot(_nearest(chunk, centroids), centroids.shape[0], axis=0)
            total = total + ops.matmul(ops.cast(members, chunk.dtype), chunk)
        is_empty = ops.all(total == 0, axis=1, keepdims=True)
        centroids = ops.where(is_empty, centroids, l2_normalize(total))
    return centroids, ops.concatenate([_nearest(chunk, centroids) for chunk in chunks])


def _nearest(points: Any, centroids: Any) -> Any:
    return ops.argmax(ops.matmul(points, ops.transpose(centroids)), axis=1)
