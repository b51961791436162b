"""A linear classifier of nodes, with the splits of the citation graphs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_ssl.evaluate.features import check_features
from keras_ssl.graphs import as_graph


def node_probe(
    features: Any,
    graph: Any,
    regularizations: Sequence[float] = (10.0, 30.0, 50.0, 100.0),
    max_iterations: int = 200,
) -> float:
    r"""The accuracy of a linear classifier on features of nodes, on the graph's test split.

    Multinomial logistic regression on features $f$ as they are, fitted on the nodes of the split
    "train". It minimises

    $$C \sum_i -\log p(y_i \mid W f_i + b) + \frac12 \lVert W \rVert^2$$

    where $C$ is the one of `regularizations` with the highest accuracy on the split "val", of
    equals the first. The result is deterministic.

    Args:
        features: a vector a node, `(nodes, features)`, as `trainer.predict` gives it.
        graph: a graph with integer labels of nodes, `y`, and splits "train", "val" and "test", such
            as `keras_ssl.data.load_graph("cora")`.
        regularizations: values of $C$ to try. The default is for vectors of lengths below 1, as
            DGI's are.
        max_iterations: L-BFGS steps at most.

    Returns:
        The share of test nodes classified right, from 0 to 1.

    Raises:
        ValueError: if features are not finite or not of the graph's nodes, or the graph has no
            such labels or splits.

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
    graph = as_graph(graph)
    features = check_features(features, "features")
    train, val, test = _splits(graph, len(features))
    y, found = graph.y, []
    for c in regularizations:
        classifier = _fit(features[train], y[train], c, max_iterations)
        found.append((classifier.score(features[val], y[val]), classifier))
    best = max(found, key=lambda one: one[0])[1]  # the first of equals
    return float(best.score(features[test], y[test]))


def _fit(features: np.ndarray, y: np.ndarray, c: float, max_iterations: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # of thin products, threads wait for each other
        return LogisticRegression(C=c, max_iter=max_iterations).fit(features, y)


def _splits(graph: Any, rows: int) -> list[np.ndarray]:
    if rows != graph.nodes:
        raise ValueError(
            f"`features` must hold a vector for each of the {graph.nodes} nodes. Received: {rows}"
        )
    if graph.y is None or graph.y.shape != (rows,) or graph.y.dtype.kind not in "iu":
        received = "none" if graph.y is None else f"{graph.y.dtype} of shape {graph.y.shape}"
        raise ValueError(
            f"`graph` must have an integer label a node, `y` of shape ({rows},). Received: "
            f"{received}"
        )
    names = ("train", "val", "test")
    splits = [graph.splits.get(name, np.zeros(rows, bool)) for name in names]
    if not all(split.any() for split in splits):
        raise ValueError(
            f"`graph` must have nodes in the splits {names}. Received: "
            f"{ {name: int(split.sum()) for name, split in graph.splits.items()} }"
        )
    return splits
