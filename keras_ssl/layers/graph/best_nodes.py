"""Which nodes of each graph score best."""

from typing import Any

from keras import ops

from keras_ssl.layers.graph.edges import Edges
from keras_ssl.layers.graph.listed_edges import ListedEdges


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
