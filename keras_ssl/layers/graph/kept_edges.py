"""An adjacency without some of its edges, at the same shapes."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.connect import connect
from keras_ssl.layers.graph.sparse_tensors import is_sparse, with_values


def keep_edges(a: Any, weights: Any, keep: Any) -> Any:
    """Set the weight of edges to 0, which makes them none.

    Args:
        a: adjacency of any form.
        weights: `Edges.weights` of it.
        keep: booleans, shaped as the weights or, of a dense matrix, as one for each of a batch.

    Returns:
        The adjacency in its form. An edge list has `weights` afterwards, if it had none before; of
        a dense matrix and a batch of `keep`, one matrix for each.

    Raises:
        ValueError: if a list or a sparse matrix is to lose other edges in each graph of a batch.
    """
    if len(keep.shape) > 2 and (isinstance(a, dict) or is_sparse(a)):
        raise ValueError(
            "Graphs of a batch that lose different edges need a dense adjacency, (nodes, nodes) or "
            f"(batch, nodes, nodes). Received: {'an edge list' if isinstance(a, dict) else a}"
        )
    kept = ops.squeeze(ops.where(keep, weights, ops.zeros_like(weights)), -1)
    if isinstance(a, dict):
        return {**a, "weights": kept}
    return with_values(a, kept) if is_sparse(a) else kept


def keep_nodes(x: Any, a: Any, keep: Any) -> Any:
    """Set the weights of all edges from and to some nodes to 0.

    Args:
        x: features of the nodes, for their number.
        a: adjacency of any form.
        keep: booleans `(nodes, 1)` or `(batch, nodes, 1)`, `False` for the nodes that lose their
            edges.

    Returns:
        The adjacency in its form; see `keep_edges`.

    Raises:
        ValueError: as `keep_edges`.
    """
    edges = connect(x, a)
    both = ops.logical_and(edges.from_senders(keep), edges.from_receivers(keep))
    return keep_edges(a, edges.weights, both)


def spec_of_kept_edges(a: Any, batch: tuple = ()) -> Any:
    """Return what `keep_edges` returns, as symbolic tensors.

    Args:
        a: adjacency of any form.
        batch: shape of `keep` before the nodes.

    Returns:
        The adjacency in its form.
    """
    if isinstance(a, dict):
        weights = a.get("weights")
        dtype = "float32" if weights is None else weights.dtype
        specs = {name: keras.KerasTensor(one.shape, one.dtype) for name, one in a.items()}
        return specs | {"weights": keras.KerasTensor(a["senders"].shape, dtype)}
    if is_sparse(a):
        return keras.KerasTensor(a.shape, a.dtype, sparse=True)
    shape = a.shape if len(a.shape) == 3 else (*batch, *a.shape)
    return keras.KerasTensor(shape, a.dtype)
