"""Evaluation of embeddings of graphs, nodes and pairs of nodes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_ssl.evaluate._forward import check_features
from keras_ssl.evaluate._labels import class_labels, is_labelled, labelled_only
from keras_ssl.graphs import as_graph


def graph_probe(
    features: Any,
    y: Any,
    folds: int = 10,
    regularizations: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3),
    inner_folds: int = 5,
    seed: int = 0,
) -> float:
    """Compute the cross-validated accuracy of a support vector machine on graph features.

    This is the usual measure for sets of a few hundred graphs. For each of `folds` stratified
    folds, a machine with a radial kernel is fitted to the standardized features of the other folds.
    Its C is chosen from `regularizations` by cross-validation within these, so nothing is chosen
    on the graphs that are tested.

    Args:
        features: one vector per graph, `(graphs, features)`.
        y: labels of the graphs, integers or strings, `(graphs,)` or `(graphs, 1)`. Graphs with the
            label -1, which means no label, are left out.
        folds: number of folds.
        regularizations: values of C to try.
        inner_folds: number of folds for the choice of C.
        seed: seed of the assignment to folds.

    Returns:
        The mean accuracy over folds, from 0 to 1.

    Raises:
        ValueError: if features are not finite, `y` is not one label per graph, there are less than
            two classes, or a class has fewer graphs than there are folds.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> y = np.arange(40) % 2
    >>> evaluate.graph_probe(np.stack([y, 1 - y], axis=1), y)
    1.0

    Reference:
        - [Sun et al., InfoGraph](https://arxiv.org/abs/1908.01000), section 4.1
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    features, y = check_features(features, "features"), np.asarray(y)
    if len(y.ravel()) != len(features) or y.dtype.kind not in "iuUSO":
        raise ValueError(
            f"`y` must hold an integer label or a string for each of {len(features)} graphs. "
            f"Received: {y.dtype} of shape {y.shape}"
        )
    features, y = labelled_only(features, class_labels(y, "y"), "y")
    counts = np.unique(y, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < folds:
        raise ValueError(
            f"`y` must hold at least two classes, each with at least folds={folds} graphs. "
            f"Received: classes of {counts.tolist()} graphs"
        )
    machine = make_pipeline(StandardScaler(), SVC())
    search = GridSearchCV(machine, {"svc__C": list(regularizations)}, cv=inner_folds)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return float(cross_val_score(search, features, y, cv=split).mean())


def node_probe(
    features: Any,
    graph: Any,
    regularizations: Sequence[float] = (10.0, 30.0, 50.0, 100.0),
    max_iterations: int = 200,
) -> float:
    r"""Compute the accuracy of a linear classifier on the test nodes of a graph.

    Multinomial logistic regression on features $f$ that are not standardized, fitted to the nodes
    of the split "train". It minimizes

    $$C \sum_i -\log p(y_i \mid W f_i + b) + \frac12 \lVert W \rVert^2$$

    where $C$ is the first of `regularizations` with the highest accuracy on the split "val". The
    result is deterministic.

    Args:
        features: one vector per node, `(nodes, features)`, as returned by `trainer.predict`.
        graph: a graph with node labels `y`, integers of which -1 means no label, and splits
            "train", "val" and "test", such as `keras_ssl.data.load_graph("cora")`.
        regularizations: values of $C$ to try. The default suits vectors of norms below 1, such as
            DGI's.
        max_iterations: maximum number of L-BFGS steps.

    Returns:
        The accuracy on the test nodes, from 0 to 1.

    Raises:
        ValueError: if features are not finite or do not match the nodes, or the graph lacks these
            labels or splits.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate, graphs
    >>> split = {name: np.ones(4, bool) for name in ("train", "val", "test")}
    >>> graph = graphs.Graph(a=np.eye(4), y=[0, 0, 1, 1], splits=split)
    >>> evaluate.node_probe([[1, 0], [2, 0], [0, 1], [0, 3]], graph)
    1.0

    Reference:
        - [Veličković et al., Deep Graph Infomax](https://arxiv.org/abs/1809.10341), section 4.1
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    graph = as_graph(graph)
    features = check_features(features, "features")
    y = _node_labels(graph, len(features))
    train, val, test = _splits(graph, is_labelled(y))
    # one thread, as in `linear_probe`
    with threadpool_limits(1):
        fitted = [
            LogisticRegression(C=c, max_iter=max_iterations).fit(features[train], y[train])
            for c in regularizations
        ]
        best = max(fitted, key=lambda one: one.score(features[val], y[val]))  # the first of equals
        return float(best.score(features[test], y[test]))


def _node_labels(graph: Any, rows: int) -> np.ndarray:
    if rows != graph.nodes:
        raise ValueError(
            f"`features` must hold one vector for each of the {graph.nodes} nodes. Received: {rows}"
        )
    fits = graph.y is not None and graph.y.shape in ((rows,), (rows, 1))
    if not fits or graph.y.dtype.kind not in "iu":
        received = "none" if graph.y is None else f"{graph.y.dtype} of shape {graph.y.shape}"
        raise ValueError(
            f"`graph` must have one integer label per node, `y` of shape ({rows},). Received: "
            f"{received}"
        )
    return graph.y.reshape(-1)


def _splits(graph: Any, has_label: np.ndarray) -> list[np.ndarray]:
    names = ("train", "val", "test")
    splits = [graph.splits.get(name, np.zeros(len(has_label), bool)) for name in names]
    splits = [split & has_label for split in splits]
    if not all(split.any() for split in splits):
        raise ValueError(
            f"`graph` must have nodes in the splits {names}, with labels. Received: "
            f"{ {name: int(split.sum()) for name, split in graph.splits.items()} }"
        )
    return splits


def link_prediction(z: Any, positive: Any, negative: Any) -> dict[str, float]:
    """Measure how well scores of node pairs separate edges from non-edges.

    The score of a pair is the inner product of its embeddings, z_i·z_j, or the value of a
    function. Only the order of scores matters, so logits and probabilities give the same result.

    Args:
        z: embeddings of all nodes, `(nodes, dimensions)`; or a function from pairs `(m, 2)` to
            scores `(m,)`.
        positive: pairs of nodes with an edge, integers `(m, 2)`.
        negative: pairs of nodes without an edge, integers `(k, 2)`.
            `keras_ssl.graphs.split_edges` returns both.

    Returns:
        `{"auc": ..., "average_precision": ...}`: area under the ROC curve and average precision,
        from 0 to 1. At chance level, they are 0.5 and the fraction of positive pairs.

    Raises:
        TypeError: if pairs are not integers.
        ValueError: if `positive` or `negative` is empty, not of shape `(m, 2)` or out of range, or
            embeddings or scores are not finite or of the wrong shape.

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
                f"Pairs must hold nodes from 0 to {len(z) - 1}, the rows of `z`. "
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
