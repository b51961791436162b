"""The graph that each node belongs to, and the best nodes of each graph."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops.graph.edges import DenseEdges, Edges, ListedEdges


def membership(x: Any, i: Any, mask: Any, graphs: int | None = None) -> tuple[Any, Edges]:
    """Return nodes as messages to their graphs, and the edges from nodes to graphs.

    Pooling is aggregation over these edges: `members.sum(x)` is the sum per graph, and so for the
    mean, maximum and softmax. Padding has edges of weight 0.

    Args:
        x: node features, `(nodes, features)` or `(batch, nodes, features)`.
        i: index of each node's graph in disjoint mode, else `None`.
        mask: booleans, `True` for nodes, `False` for padding; or `None`.
        graphs: number of graphs in disjoint mode; `None` for `max(i) + 1`.

    Returns:
        The messages and the edges.

    Raises:
        TypeError: if `i` does not hold integers.
        ValueError: if `graphs` is needed, as in compiled functions of JAX.
    """
    if i is not None:
        return x, _by_index(i, mask, graphs)
    x = ops.expand_dims(x, 0) if len(x.shape) == 2 else x
    if mask is None:
        return x, DenseEdges(ops.ones(ops.shape(x)[:2], x.dtype))
    return x, DenseEdges(ops.cast(ops.reshape(mask, ops.shape(x)[:2]), x.dtype))


def _by_index(i: Any, mask: Any, graphs: int | None) -> Edges:
    i = ops.convert_to_tensor(i)
    dtype = keras.backend.standardize_dtype(i.dtype)
    if "int" not in dtype:
        raise TypeError(
            f"`i`, the index of each node's graph, must hold integers. Received: dtype {dtype}"
        )
    is_node = i >= 0
    if graphs is None:
        _check_countable(i)
        graphs = ops.max(i) + 1
    else:
        is_node = ops.logical_and(is_node, i < graphs)
    if mask is not None:
        is_node = ops.logical_and(is_node, mask)
    receivers = ops.where(is_node, i, ops.zeros_like(i))
    return ListedEdges(None, receivers, ops.cast(is_node, "float32"), graphs)


def _check_countable(i: Any) -> None:
    """Raise a `ValueError` if the number of graphs is needed where JAX knows no values."""
    if keras.backend.backend() != "jax":
        return
    from jax.core import Tracer

    if isinstance(i, Tracer):
        raise ValueError(
            "On the JAX backend a pooling layer must be told how many graphs a union has: pass "
            "`graphs`, the batch size of `data.disjoint_batches`, to the layer, such as "
            "`InfoGraph(encoder, readout=SumPool(graphs=32))`, or use `data.padded_batches`. "
            "Received: graphs=None"
        )


def check_nodes(x: tuple, i: tuple | None) -> None:
    """Check the shape of node features, and of the indices of their graphs if not `None`."""
    if len(x) not in (2, 3) or x[-1] is None:
        raise ValueError(
            "Node features must have shape (nodes, features) or (batch, nodes, features), with a "
            f"known number of features. Received: shape {x}"
        )
    if i is None:
        return
    if len(x) == 3 or len(i) != 1 or (None not in (x[0], i[0]) and x[0] != i[0]):
        raise ValueError(
            "In disjoint mode features must have shape (nodes, features) and `i`, the index of "
            f"each node's graph, shape (nodes,). Received: shapes {x} and {i}"
        )


def best_nodes(score: Any, members: Edges, ratio: float) -> Any:
    """Return which nodes of each graph have the highest scores.

    Args:
        score: one number per node, as messages of `members`.
        members: edges from nodes to graphs, of `membership`.
        ratio: share of each graph's nodes, rounded up to a whole number.

    Returns:
        Booleans of the shape of `score`. Ties are broken by the order of the nodes.
    """
    rank = _rank_in_list if isinstance(members, ListedEdges) else _rank_in_rows
    wanted = ops.ceil(ratio * members.count() * (1 - 1e-6))  # despite rounding of the product
    is_best = ops.cast(rank(score, members), "float32") < members.from_receivers(wanted)
    return ops.logical_and(is_best, members.exist)


def _rank_in_rows(score: Any, members: Edges) -> Any:
    """The rank of each node in its row, 0 for the highest score; padding comes last."""
    descending = ops.where(members.exist, -score, ops.full_like(score, float("inf")))
    return ops.argsort(ops.argsort(descending, axis=-2), axis=-2)


def _rank_in_list(score: Any, members: ListedEdges) -> Any:
    """The rank of each node in its graph, 0 for the highest score."""
    count = ops.cast(members.count(), "int32")[:, 0]
    descending = ops.argsort(-score[:, 0])
    graph = ops.where(members.exist[:, 0], members.receivers, members.nodes)
    # sorted by score, then by graph; the second sort is stable
    order = ops.take(descending, ops.argsort(ops.take(graph, descending)))
    first = ops.cumsum(count) - count
    ranks = ops.cast(ops.argsort(order), "int32") - ops.take(first, members.receivers)
    return ranks[:, None]
