"""How well embeddings tell edges from pairs of nodes without one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_ssl.evaluate.features import check_features


def link_prediction(z: Any, positive: Any, negative: Any) -> dict[str, float]:
    """Area under the ROC curve and average precision of scores of pairs of nodes.

    The score of a pair is the inner product of its embeddings, z_i·z_j, or what a function makes
    of it. Only the order of scores matters, so a logit does as well as a probability.

    Args:
        z: embeddings of all nodes, `(n, dimensions)`; or a function of pairs `(m, 2)` that returns
            their scores `(m,)`.
        positive: pairs of nodes that are edges, integers `(m, 2)`.
        negative: pairs that are none, integers `(k, 2)`. `keras_ssl.graphs.split_edges` gives both.

    Returns:
        `{"auc": ..., "average_precision": ...}`, from 0 to 1. By chance the first is 0.5 and the
        second the share of positive pairs.

    Raises:
        TypeError: if pairs are not integers.
        ValueError: if there are no pairs of one kind, pairs are not of shape `(m, 2)` or out of
            range, or embeddings or scores are not finite or of the wrong shape.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> z = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> evaluate.link_prediction(z, positive=[[0, 1]], negative=[[0, 2], [1, 2]])
    {'auc': 1.0, 'average_precision': 1.0}

    Reference:
        - [Kipf & Welling, Variational Graph Auto-Encoders](https://arxiv.org/abs/1611.07308)
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    positive, negative = _pairs(positive, "positive"), _pairs(negative, "negative")
    score = z if callable(z) and not hasattr(z, "shape") else _inner_products(z)
    scores = np.concatenate([_scores(score, positive), _scores(score, negative)])
    is_edge = np.repeat([1, 0], [len(positive), len(negative)])
    return {
        "auc": float(roc_auc_score(is_edge, scores)),
        "average_precision": float(average_precision_score(is_edge, scores)),
    }


def _inner_products(z: Any) -> Callable[[np.ndarray], np.ndarray]:
    z = check_features(z, "z").astype("float64")

    def score(pairs: np.ndarray) -> np.ndarray:
        if pairs.min() < 0 or pairs.max() >= len(z):
            raise ValueError(
                f"Pairs must name nodes from 0 to {len(z) - 1}, the rows of `z`. "
                f"Received: nodes from {pairs.min()} to {pairs.max()}"
            )
        return np.sum(z[pairs[:, 0]] * z[pairs[:, 1]], axis=1)

    return score


def _scores(score: Callable, pairs: np.ndarray) -> np.ndarray:
    scores = np.asarray(score(pairs), "float64")
    if scores.shape != (len(pairs),):
        raise ValueError(
            f"`z` must give one score for each of the {len(pairs)} pairs. "
            f"Received: scores of shape {scores.shape}"
        )
    broken = np.count_nonzero(~np.isfinite(scores))
    if broken:
        raise ValueError(
            f"Scores must be finite. Received: {broken} of {len(scores)} NaN or infinite"
        )
    return scores


def _pairs(pairs: Any, name: str) -> np.ndarray:
    pairs = np.asarray(pairs)
    if not pairs.size:
        raise ValueError(f"`{name}` must hold at least one pair. Received: shape {pairs.shape}")
    if pairs.dtype.kind not in "iu":
        raise TypeError(f"`{name}` must hold integers. Received: dtype {pairs.dtype}")
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(
            f"`{name}` must have shape (pairs, 2), two nodes each. Received: shape {pairs.shape}"
        )
    return pairs
