"""Many graphs as one: disjoint mode."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

import numpy as np

from keras_ssl.graphs.conversion import as_graph
from keras_ssl.graphs.graph import Graph


def disjoint_union(graphs: Iterable[Any], node_labels: bool = False) -> tuple[Graph, np.ndarray]:
    """Return the union of graphs as one graph without edges between them.

    Args:
        graphs: graphs, each of any kind that `as_graph` takes. Splits are not kept.
        node_labels: whether `y` are labels of nodes, which are concatenated; otherwise they are
            labels of graphs, which are stacked.

    Returns:
        The union as a `Graph`, and `i` of shape `(n,)`, int32: the number of each node's graph,
        ascending.

    Raises:
        TypeError: if `graphs` is one graph.
        ValueError: if there is no graph, one has no nodes, or features or labels do not fit each
            other.

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
            "`y` of graphs must be numbers, or vectors of one length; labels of nodes need "
            f"`node_labels=True`. Received: y of shapes {sorted({y.shape for y in ys})[:5]}"
        )
    return np.stack(ys)


def several_graphs(graphs: Any) -> list[Graph]:
    """Return several graphs as a list of `Graph`.

    Args:
        graphs: graphs, each of any kind that `as_graph` takes; Spektral's `Dataset`.

    Returns:
        List of `Graph`.

    Raises:
        TypeError: if it is one graph, or holds what is none.
    """
    import networkx

    # networkx' graphs are iterable, over their nodes
    is_one = isinstance(graphs, (Graph, networkx.Graph))
    if is_one or not isinstance(graphs, Iterable | Sized):
        raise TypeError(
            "`graphs` must be a list of graphs; for one graph there is `data.single_graph`. "
            f"Received: {graphs!r} of type {type(graphs)}"
        )
    return [as_graph(graph) for graph in graphs]


def check_not_empty(graphs: list[Graph]) -> None:
    """Raise if there is no graph or one has no nodes: it would have no place in the union.

    Args:
        graphs: list of `Graph`.

    Raises:
        ValueError: if there is none or one is empty.
    """
    if not graphs:
        raise ValueError("`graphs` must hold at least one graph. Received: none")
    empty = [number for number, graph in enumerate(graphs) if not graph.nodes]
    if empty:
        raise ValueError(
            "`graphs` must have nodes, each of them: an empty graph has no row to stand for it. "
            f"Received: no nodes in graphs {empty[:5]} of {len(graphs)}"
        )


def check_alike(graphs: list[Graph]) -> None:
    """Raise unless all graphs have the same parts with equally many features.

    Args:
        graphs: list of `Graph`, not empty.

    Raises:
        ValueError: if they differ.
    """
    for name in "xey":
        parts = [getattr(graph, name) for graph in graphs]
        widths = {None if part is None else part.shape[1:] for part in parts}
        if len(widths) > 1 and (name != "y" or None in widths):  # labels have their own check
            shapes = sorted({str(None if part is None else part.shape) for part in parts})
            raise ValueError(
                f"`graphs` must all have the same kind of `{name}`, or all none. Received: "
                f"{name} of shapes {shapes[:5]}"
            )
