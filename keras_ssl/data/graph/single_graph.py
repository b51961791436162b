"""`single_graph`: one whole graph as the only batch of an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl.data.autotuning import without_autotuning
from keras_ssl.graphs import Graph, as_graph, edge_list
from keras_ssl.graphs.forms import sparse_parts

if TYPE_CHECKING:
    import tensorflow as tf


def single_graph(
    graph: Any, split: str | None = None, adjacency: str = "sparse"
) -> tf.data.Dataset:
    """Make a data set whose one batch is a whole graph: single mode.

    A model that classifies nodes is trained on it with `fit`, one step an epoch:
    `model.fit(single_graph(graph, "train"), validation_data=single_graph(graph, "val"))`. The
    nodes outside of the split have weight 0 and are seen, but do not count. Weights are scaled by
    the number of nodes over that of the split, so that Keras' mean over all nodes becomes the
    mean over the split. In `compile`, accuracy must be among `weighted_metrics`.

    Args:
        graph: a `graphs.Graph`, Spektral's, or a networkx graph. A preprocessed adjacency is put
            in by `dataclasses.replace(graph, a=GCNConv.preprocess(graph.a))`.
        split: name of one of the graph's splits, or `None` for all nodes.
        adjacency: form of `a`: `"sparse"` (`tf.SparseTensor`), `"edges"` (an edge list, whose
            shapes are static) or `"dense"`.

    Returns:
        `tf.data.Dataset` of one element `((x, a), y)`, or `((x, a), y, sample_weight)` with a
        split; `((x, a),)` of a graph without labels. With edge features it is `(x, a, e)`: one row
        an edge, or of shape `(n, n, features)` where `a` is dense. `x` is a `tf.SparseTensor` if
        the graph's is sparse.

    Raises:
        ValueError: if the graph has no features or no nodes, no such split, a split without
            nodes, or a split but no labels of nodes; or there is no such form.

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
    inputs = (x, adjacency_tensors(graph.a, adjacency))
    if graph.e is not None:
        inputs += (_dense_features(graph) if adjacency == "dense" else graph.e,)
    element = (inputs,) if graph.y is None else (inputs, graph.y)
    if split is not None:
        element = (*element, _weights(graph, split))
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
    return mask_weights(mask)


def _dense_features(graph: Any) -> np.ndarray:
    dense = np.zeros((graph.nodes, graph.nodes, graph.e.shape[1]), np.float32)
    dense[graph.a.nonzero()] = graph.e
    return dense


def adjacency_tensors(a: Any, form: str) -> Any:
    """Return an adjacency in the form that a layer shall get.

    Args:
        a: scipy.sparse of shape `(n, n)`.
        form: `"sparse"`, `"edges"` or `"dense"`.

    Returns:
        `tf.SparseTensor`, an edge list, or an array.

    Raises:
        ValueError: if there is no such form.
    """
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
    """Return a scipy.sparse matrix as `tf.SparseTensor`, on every backend of Keras.

    Args:
        matrix: scipy.sparse of shape `(rows, columns)`.

    Returns:
        `tf.SparseTensor` of float32, indices in order.
    """
    import tensorflow as tf

    return tf.SparseTensor(*sparse_parts(matrix))


def graph_with_features(graph: Any, name: str = "graph") -> Graph:
    """Return a graph of any kind as `Graph`, and raise if its nodes have no features.

    Args:
        graph: what `graphs.as_graph` takes.
        name: how the error calls it.

    Returns:
        A `Graph` whose `x` is not `None`.

    Raises:
        ValueError: if it has none, or has no nodes.
    """
    graph = as_graph(graph)
    if graph.x is None:
        raise ValueError(
            f"`{name}` must have features `x`, which layers compute from; where there are none, "
            "the identity or the degrees are often taken. Received: x=None"
        )
    if not graph.nodes:
        raise ValueError(f"`{name}` must have nodes. Received: a graph without nodes")
    return graph


def mask_weights(mask: np.ndarray) -> np.ndarray:
    """Sample weights with which Keras' mean over all rows is the mean over the rows of a mask.

    Args:
        mask: boolean vector.

    Returns:
        Float32 vector: rows by masked rows where the mask is true, otherwise 0.
    """
    return (mask * (len(mask) / mask.sum())).astype(np.float32)
