"""`single_graph`: one whole graph as the only batch of an epoch."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks
from keras_ssl.data._autotuning import without_autotuning
from keras_ssl.data.class_weights import class_weights
from keras_ssl.graphs import Graph, as_graph, edge_list
from keras_ssl.graphs.forms import sparse_parts

if TYPE_CHECKING:
    import tensorflow as tf


def single_graph(
    graph: Any,
    split: str | None = None,
    adjacency: str = "sparse",
    class_weight: Mapping[int, float] | str | None = None,
) -> tf.data.Dataset:
    """Create a dataset with a whole graph as its only batch (single mode).

    A node classifier is trained on it with one step per epoch:
    `model.fit(single_graph(graph, "train"), validation_data=single_graph(graph, "val"))`. The model
    sees all nodes; those outside of the split have sample weight 0. The weights of the others are
    scaled so that Keras' mean over all nodes is the mean over the split. In `compile`, pass
    accuracy as `weighted_metrics`.

    Args:
        graph: a `graphs.Graph`, Spektral's, or a networkx graph. To preprocess the adjacency, use
            `dataclasses.replace(graph, a=GCNConv.preprocess(graph.a))`.
        split: name of one of the graph's splits, or `None` for all nodes.
        adjacency: form of `a`: `"sparse"` (`tf.SparseTensor`), `"edges"` (an edge list, whose
            shapes are static) or `"dense"`.
        class_weight: weight of the loss of each class, as in Keras' `fit`, which refuses its own
            beside the sample weights of a split: a mapping from class to weight, 1 for classes that
            it lacks; or `"balanced"`, which weighs classes against their frequency, as
            scikit-learn does.

    Returns:
        `tf.data.Dataset` of one element `((x, a), y)`, or `((x, a), y, sample_weight)` with a
        split or `class_weight`; `((x, a),)` for a graph without labels. With edge features the
        inputs are `(x, a, e)`: one row per edge, or of shape `(n, n, features)` if `a` is dense.
        Sparse features are a `tf.SparseTensor`.

    Raises:
        ValueError: if the graph has no features or no nodes, `split` is unknown or empty or the
            nodes have no labels, `adjacency` is unknown, or `class_weight` does not fit the labels.
        TypeError: if `class_weight` is neither a mapping nor `"balanced"`.

    Example:

    >>> from keras_ssl import data
    >>> club = data.load_graph("karate_club")
    >>> (x, a), y = next(iter(data.single_graph(club, adjacency="dense")))
    >>> x.shape, a.shape, y.shape
    (TensorShape([34, 34]), TensorShape([34, 34]), TensorShape([34]))
    """
    import scipy.sparse
    import tensorflow as tf

    graph = graph_with_features(graph)
    x = sparse_tensor(graph.x) if scipy.sparse.issparse(graph.x) else graph.x
    inputs = (x, _adjacency_tensors(graph.a, adjacency))
    if graph.e is not None:
        inputs += (_dense_features(graph) if adjacency == "dense" else graph.e,)
    element = (inputs,) if graph.y is None else (inputs, graph.y)
    weights = None if split is None else _weights(graph, split)
    if class_weight is not None:
        rows = None if weights is None else weights > 0
        labels = graph.y if graph.y is not None and len(graph.y.shape) else None
        factors = weights_of_classes(labels, class_weight, rows)
        weights = factors if weights is None else weights * factors
    if weights is not None:
        element = (*element, weights)
    return without_autotuning(tf.data.Dataset.from_tensors(element))


def _weights(graph: Any, split: str) -> np.ndarray:
    if not isinstance(split, str) or split not in graph.splits:
        raise ValueError(
            f"`split` must be one of {sorted(graph.splits)}, the splits of the graph. Received: "
            f"split={split!r}"
        )
    if graph.y is None or graph.y.shape[:1] != (graph.nodes,):
        labels = None if graph.y is None else f"y of shape {graph.y.shape}"
        raise ValueError(
            f"`split` needs labels of the {graph.nodes} nodes, in `y`. Received: {labels}"
        )
    mask = graph.splits[split]
    if not mask.any():
        raise ValueError(f"`split` must hold nodes. Received: none in split={split!r}")
    return _mask_weights(mask)


def _dense_features(graph: Any) -> np.ndarray:
    dense = np.zeros((graph.nodes, graph.nodes, graph.e.shape[1]), np.float32)
    dense[graph.a.nonzero()] = graph.e
    return dense


def only_batch(inputs: Any, y: Any = None, sample_weight: Any = None) -> tf.data.Dataset:
    """Create a dataset whose only batch is a graph in tensors, arrays and SciPy matrices."""
    import keras
    import scipy.sparse
    import tensorflow as tf

    parts = [tuple(inputs), *(one for one in (y, sample_weight) if one is not None)]
    parts = keras.tree.map_structure(
        lambda one: sparse_tensor(one) if scipy.sparse.issparse(one) else one, tuple(parts)
    )
    return without_autotuning(tf.data.Dataset.from_tensors(parts))


def _adjacency_tensors(a: Any, form: str) -> Any:
    """Convert a scipy.sparse adjacency to the requested form."""
    if form == "sparse":
        return sparse_tensor(a)
    if form == "edges":
        return edge_list(a)
    if form == "dense":
        return a.toarray()
    raise ValueError(
        f"`adjacency` must be 'sparse', 'edges' or 'dense'. Received: adjacency={form!r}"
    )


def sparse_tensor(matrix: Any) -> Any:
    """Convert a scipy.sparse matrix to a float32 `tf.SparseTensor`, on every backend of Keras."""
    import tensorflow as tf

    return tf.SparseTensor(*sparse_parts(matrix))


def graph_with_features(graph: Any, name: str = "graph") -> Graph:
    """Convert a graph of any kind to a `Graph`, and check that it has nodes with features."""
    graph = as_graph(graph)
    if graph.x is None:
        raise ValueError(
            f"`{name}` must have features `x`; for graphs without features, the identity or "
            "the node degrees are common. Received: x=None"
        )
    if not graph.nodes:
        raise ValueError(f"`{name}` must have nodes. Received: a graph without nodes")
    return graph


def weights_of_classes(y: Any, class_weight: Any, rows: Any = None) -> np.ndarray:
    """Return the weight of the class of each label.

    Args:
        y: labels, integers `(n,)` or `(n, 1)`, or one-hot vectors `(n, classes)`.
        class_weight: mapping from class to weight, or `"balanced"`.
        rows: booleans `(n,)`, the labels that are used; `None` for all. Others have weight 0.

    Returns:
        `(n,)`, float32.
    """
    is_balanced = isinstance(class_weight, str) and class_weight == "balanced"
    if not is_balanced and not isinstance(class_weight, Mapping):
        raise TypeError(
            "`class_weight` must be a mapping from class to weight, or 'balanced'. Received: "
            f"class_weight={class_weight!r}"
        )
    classes = _classes(y)
    rows = np.ones(len(classes), bool) if rows is None else rows
    if classes[rows].min() < 0:
        raise ValueError(
            f"`class_weight` needs labels from 0. Received: a label of {classes[rows].min()}"
        )
    if is_balanced:
        class_weight = class_weights(classes[rows])
    weights = np.ones(len(classes))
    for one, weight in class_weight.items():
        if isinstance(one, bool) or not isinstance(one, numbers.Integral):
            raise TypeError(f"`class_weight` must have integers as keys. Received: {one!r}")
        weights[classes == one] = checks.number(f"class_weight[{one}]", weight, minimum=0)
    return np.where(rows, weights, 0).astype(np.float32)


def _classes(y: Any) -> np.ndarray:
    """Return the class of each label."""
    if y is not None and y.ndim == 2 and y.shape[1] > 1:
        is_one_hot = np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()
        if is_one_hot:
            return y.argmax(axis=1)
    elif y is not None and y.ndim in (1, 2) and y.dtype.kind in "iu":
        return y.reshape(-1)
    shape = None if y is None else f"y of shape {y.shape}, dtype {y.dtype}"
    raise ValueError(
        "`class_weight` needs one class for each row: integers (n,), or one-hot vectors "
        f"(n, classes). Received: {shape}"
    )


def _mask_weights(mask: np.ndarray) -> np.ndarray:
    """Return sample weights with which Keras' mean over all rows is the mean over a mask."""
    return (mask * (len(mask) / mask.sum())).astype(np.float32)
