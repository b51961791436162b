"""Which graph each node belongs to, and the best nodes of each graph."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops.graph.edges import DenseEdges, Edges, ListedEdges


def membership(x: Any, i: Any, mask: Any, graphs: int | None = None) -> tuple[Any, Edges]:
    """Return nodes as messages to their graphs, and the edges that these go over.

    A graph that receives from its nodes is a pooling: the sum, mean, largest value and softmax by
    graph are those of `Edges`. Padding has edges of weight 0, which are none.

    Args:
        x: features of the nodes, `(nodes, features)` or `(batch, nodes, features)`.
        i: graph of each node in disjoint mode, else `None`.
        mask: booleans, `True` where a row is a node; or `None`.
        graphs: number of graphs in disjoint mode; `None` for `max(i) + 1`.

    Returns:
        The messages and the edges.

    Raises:
        TypeError: if `i` does not hold integers.
    """
    if i is not None:
        return x, _by_number(i, mask, graphs)
    x = ops.expand_dims(x, 0) if len(x.shape) == 2 else x
    if mask is None:
        return x, DenseEdges(ops.ones(ops.shape(x)[:2], x.dtype))
    return x, DenseEdges(ops.cast(ops.reshape(mask, ops.shape(x)[:2]), x.dtype))


def _by_number(i: Any, mask: Any, graphs: int | None) -> Edges:
    i = ops.convert_to_tensor(i)
    if "int" not in keras.backend.standardize_dtype(i.dtype):
        raise TypeError(
            "`i`, the graph of each node, must hold integers. Received: dtype "
            f"{keras.backend.standardize_dtype(i.dtype)}"
        )
    is_node = i >= 0
    if graphs is None:
        graphs = ops.max(i) + 1
    else:
        is_node = ops.logical_and(is_node, i < graphs)
    if mask is not None:
        is_node = ops.logical_and(is_node, mask)
    receivers = ops.where(is_node, i, ops.zeros_like(i))
    return ListedEdges(None, receivers, ops.cast(is_node, "float32"), graphs)


def check_nodes(x: tuple, i: tuple | None) -> None:
    """Raise unless the shapes of nodes and of their graphs' numbers fit one another.

    Args:
        x: shape of the features.
        i: shape of the graphs' numbers, or `None`.

    Raises:
        ValueError: if they do not, or the number of features is open.
    """
    if len(x) not in (2, 3) or x[-1] is None:
        raise ValueError(
            "Node features must be of shape (nodes, features) or (batch, nodes, features), the "
            f"number of features fixed. Received: shape {x}"
        )
    if i is None:
        return
    if len(x) == 3 or len(i) != 1 or (None not in (x[0], i[0]) and x[0] != i[0]):
        raise ValueError(
            "In disjoint mode features must be of shape (nodes, features) and `i`, the graph of "
            f"each node, of shape (nodes,). Received: shapes {x} and {i}"
        )


def best_nodes(score: Any, members: Edges, ratio: float) -> Any:
    """Choose a share of the nodes of each graph, those of the largest scores.

    Args:
        score: one number a node, as messages of `members`.
        members: edges from nodes to graphs; see `membership`.
        ratio: share of the nodes of a graph, rounded up to a whole number of them.

    Returns:
        Booleans of the shape of `score`. Equal scores are told apart by the order of the nodes.
    """
    place = _places_in_list if isinstance(members, ListedEdges) else _places_in_rows
    # up to what a product of floats is off
    wanted = ops.ceil(ratio * members.count() * (1 - 1e-6))
    is_best = ops.cast(place(score, members), "float32") < members.from_receivers(wanted)
    return ops.logical_and(is_best, members.exist)


def _places_in_rows(score: Any, members: Edges) -> Any:
    """The place of each node of a row, 0 for the largest score; padding comes last."""
    falling = ops.where(members.exist, -score, ops.full_like(score, float("inf")))
    return ops.argsort(ops.argsort(falling, axis=-2), axis=-2)


def _places_in_list(score: Any, members: ListedEdges) -> Any:
    """The place of each node within its graph, 0 for the largest score."""
    count = ops.cast(members.count(), "int32")[:, 0]
    falling = ops.argsort(-score[:, 0])
    graph = ops.where(members.exist[:, 0], members.receivers, members.nodes)
    # sorted by score, then by graph, which keeps the order within one
    order = ops.take(falling, ops.argsort(ops.take(graph, falling)))
    first = ops.cumsum(count) - count
    places = ops.cast(ops.argsort(order), "int32") - ops.take(first, members.receivers)
    return places[:, None]
