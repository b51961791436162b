"""The parts of a graph as tensors for `tf.data`."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_ssl.graphs import Graph, as_graph, edge_list
from keras_ssl.graphs.forms import sparse_parts


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
