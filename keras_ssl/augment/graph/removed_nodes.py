"""A graph without some of its nodes, at the same shapes."""

from typing import Any

from keras import ops

from keras_ssl.layers.graph.graph_inputs import GraphInputs
from keras_ssl.layers.graph.kept_edges import keep_nodes
from keras_ssl.layers.graph.sparse_tensors import (
    coordinates,
    is_sparse,
    stored_values,
    with_values,
)


def remove_nodes(graph: GraphInputs, keep: Any) -> GraphInputs:
    """Take nodes out of a graph: their features are 0, and they have no edges.

    Where the graph says which rows are nodes, by `i` or `mask`, they become padding, which
    poolings leave out.

    Args:
        graph: the parts of the graph.
        keep: booleans `(nodes, 1)` or `(batch, nodes, 1)`, `False` for the nodes to take out.

    Returns:
        The parts.
    """
    i, mask, kept = graph.i, graph.mask, ops.squeeze(keep, -1)
    if i is not None:
        i = ops.where(kept, i, ops.full_like(i, -1))
    if mask is not None:
        mask = ops.logical_and(mask, kept)
    x = _keep_rows(graph.x, keep)
    return graph._replace(x=x, a=keep_nodes(graph.x, graph.a, keep), i=i, mask=mask)


def _keep_rows(x: Any, keep: Any) -> Any:
    if not is_sparse(x):
        return ops.where(keep, x, ops.zeros_like(x))
    values = stored_values(x)
    kept = ops.take(keep[:, 0], coordinates(x)[:, 0])
    return with_values(x, ops.where(kept, values, ops.zeros_like(values)))
