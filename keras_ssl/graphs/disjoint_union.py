"""Disjoint unions of graphs."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

import numpy as np

from keras_ssl.graphs.conversion import as_graph
from keras_ssl.graphs.graph import Graph


def disjoint_union(graphs: Iterable[Any], node_labels: bool = False) -> tuple[Graph, np.ndarray]:
    """Combine graphs into one graph without edges between them.

    Args:
        graphs: graphs, each of any kind that `as_graph` takes. Splits are dropped.
        node_labels: whether `y` are labels of nodes, which are concatenated, or labels of graphs,
            which are stacked.

    Returns:
        The union as a `Graph`, and `i` of shape `(n,)`, int32: the index of each node's graph,
        ascending.

    Raises:
        TypeError: if `graphs` is a single graph.
        ValueError: if there is no graph, one has no nodes, or features or labels do not match.

    Example:

    >>> import networkx
    >>> from keras_ssl import graphs
    >>> union, i = graphs.disjoint_union([networkx.path_graph(2), networkx.cycle_graph(3)])
    >>> union
    Graph(nodes=5, edges=8)
    >>> i
    array([0, 0, 1, 1, 1], dtype=int32)
    """
    import scipy.sparse

    graphs = several_graphs(graphs)
    check_not_empty(graphs)
    check_alike(graphs)
    xs, es, ys = ([getattr(graph, name) for graph in graphs] for name in "xey")
    if xs[0] is None:
        x = None
    elif any(scipy.sparse.issparse(x) for x in xs):
        x = scipy.sparse.vstack([scipy.sparse.csr_array(x) for x in xs], format="csr")
    else:
        x = np.concatenate(xs)
    a = scipy.sparse.block_diag([graph.a for graph in graphs], format="csr")
    e = None if es[0] is None else np.concatenate(es)
    y = None if ys[0] is None else _labels(ys, node_labels)
    i = np.repeat(np.arange(len(graphs), dtype=np.int32), [graph.nodes for graph in graphs])
    return Graph(x, a, e, y), i


def _labels(ys: list[np.ndarray], node_labels: bool) -> np.ndarray:
    if node_labels:
        return np.concatenate(ys)
    if len({y.shape for y in ys}) > 1:
        raise ValueError(
            "`y` of graphs must be numbers, or vectors of the same length; labels of nodes need "
            f"`node_labels=True`. Received: y of shapes {sorted({y.shape for y in ys})[:5]}"
        )
    return np.stack(ys)


def several_graphs(graphs: Any) -> list[Graph]:
    """Convert several graphs of any kind, or a Spektral `Dataset`, to a list of `Graph`."""
    import networkx

    # networkx graphs are iterables of nodes
    is_one = isinstance(graphs, (Graph, networkx.Graph))
    if is_one or not isinstance(graphs, Iterable | Sized):
        raise TypeError(
            "`graphs` must be a list of graphs; use `data.single_graph` for one graph. "
            f"Received: {graphs!r} of type {type(graphs)}"
        )
    return [as_graph(graph) for graph in graphs]


def check_not_empty(graphs: list[Graph]) -> None:
    """Check that there is at least one graph, and that each has nodes."""
    if not graphs:
        raise ValueError("`graphs` must hold at least one graph. Received: none")
    empty = [number for number, graph in enumerate(graphs) if not graph.nodes]
    if empty:
        raise ValueError(
            "All `graphs` must have nodes, since a union cannot represent an empty graph. "
            f"Received: no nodes in graphs {empty[:5]} of {len(graphs)}"
        )


def check_alike(graphs: list[Graph]) -> None:
    """Check that all graphs have the same parts with the same number of features."""
    for name in "xey":
        parts = [getattr(graph, name) for graph in graphs]
        widths = {None if part is None else part.shape[1:] for part in parts}
        if len(widths) > 1 and (name != "y" or None in widths):  # labels are checked elsewhere
            shapes = sorted({str(None if part is None else part.shape) for part in parts})
            raise ValueError(
                f"All `graphs` must have the same kind of `{name}`, or none of them one. Received: "
                f"{name} of shapes {shapes[:5]}"
            )
