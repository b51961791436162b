"""Features as points in two dimensions, and their nearest neighbors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def check_projection(projection: Any) -> None:
    """Raise unless a projection is `None` or an estimator."""
    if projection is not None and not hasattr(projection, "fit_transform"):
        raise TypeError(
            "`projection` must be an object with a method `fit_transform`, such as "
            f"`sklearn.decomposition.PCA(2)`. Received: projection={projection!r}"
        )


def check_features(features: np.ndarray, max_points: int) -> None:
    import numpy as np

    if features.ndim != 2 or len(features) < 4:
        raise ValueError(
            "`features` must have shape (n, dimensions) with at least 4 rows. Received: "
            f"shape={features.shape}"
        )
    if features.shape[1] < 2:
        raise ValueError(
            f"`features` must have at least 2 dimensions. Received: shape={features.shape}"
        )
    if not np.isfinite(features.astype("float64")).all():
        raise ValueError("`features` must be finite. Received: NaN or infinite values")
    if max_points < 4:
        raise ValueError(f"`max_points` must be at least 4. Received: max_points={max_points}")


def project(features: np.ndarray, projection: Any, seed: int) -> np.ndarray:
    """Project to two columns by `projection` or by PCA and t-SNE."""
    if projection is None:
        if features.shape[1] == 2:
            return features
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        if min(features.shape) > 50:
            features = PCA(50, random_state=seed).fit_transform(features)
        # few points have fewer neighbours than the usual 30
        perplexity = min(30, (len(features) - 1) / 3)
        # one thread: t-SNE synchronizes threads thousands of times, and on busy cores two took over
        # ten times as long as one
        with threadpool_limits(1):
            return TSNE(
                init="pca", perplexity=perplexity, random_state=seed, n_jobs=1
            ).fit_transform(features)
    points = projection.fit_transform(features)
    if points.shape != (len(features), 2):
        raise ValueError(
            f"`projection` must map the features to shape ({len(features)}, 2). Received: "
            f"shape={points.shape} from {projection!r}"
        )
    return points


def unit_features(features: Any, n: int) -> np.ndarray:
    """Return features of length 1 as float64, zeros as they are, or raise."""
    import keras
    import numpy as np

    features = keras.ops.convert_to_numpy(features).astype("float64")
    if features.ndim != 2 or len(features) != n:
        raise ValueError(
            f"`features` must have shape ({n}, dimensions), one row per image. "
            f"Received: shape={features.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError("`features` must be finite. Received: NaN or infinite values")
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms == 0, 1.0, norms)


def nearest_neighbors(
    units: np.ndarray, rows: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return indices and similarities of the nearest other rows, the nearest first.

    Args:
        units: features of length 1, `(n, dimensions)`.
        rows: indices of the queries.
        count: number of neighbors.

    Returns:
        Two arrays of shape `(len(rows), count)`.
    """
    import numpy as np

    similarities = units[rows] @ units.T
    similarities[np.arange(len(rows)), rows] = -np.inf  # nothing is its own neighbor
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
    return nearest, np.take_along_axis(similarities, nearest, axis=1)
