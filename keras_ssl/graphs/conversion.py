"""Graphs from edge lists, networkx and Spektral."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl.graphs.checks import check_edge_list
from keras_ssl.graphs.graph import Graph

if TYPE_CHECKING:
    import networkx


def as_graph(graph: Any) -> Graph:
    """Convert any supported kind of graph to a `Graph`.

    Args:
        graph: a `Graph` (returned unchanged); Spektral's `Graph`, or any object with `x`, `a`, `e`
            and `y`; a networkx graph; or only an adjacency, scipy.sparse or a square array.

    Returns:
        A `Graph`. Spektral's dense edge features `(n, n, features)` become one row per edge.

    Raises:
        TypeError: if it is none of these.
        ValueError: if its parts do not match: see `Graph`.

    Example:

    >>> import networkx
    >>> from keras_ssl import graphs
    >>> graphs.as_graph(networkx.cycle_graph(5))
    Graph(nodes=5, edges=10)
    """
    import networkx
    import scipy.sparse

    if isinstance(graph, Graph):
        return graph
    if isinstance(graph, networkx.Graph):
        return from_networkx(graph)
    if scipy.sparse.issparse(graph) or isinstance(graph, np.ndarray):
        return Graph(a=graph)
    if not all(hasattr(graph, name) for name in "xaey"):
        raise TypeError(
            "`graph` must be a graph: keras_ssl.graphs.Graph, Spektral's Graph, a networkx graph "
            f"or an adjacency matrix. Received: {graph!r} of type {type(graph)}"
        )
    a, e = graph.a, graph.e
    if e is not None and np.ndim(e) == 3:
        a = scipy.sparse.csr_array(a)
        a.sum_duplicates()
        a.eliminate_zeros()
        e = np.asarray(e)[a.tocoo().coords]
    return Graph(graph.x, a, e, graph.y)


def from_edge_list(
    edges: Mapping[str, Any],
    nodes: int,
    x: Any = None,
    e: Any = None,
    y: Any = None,
) -> Graph:
    """Create a graph from senders, receivers and weights.

    Args:
        edges: `{"senders": (edges,), "receivers": (edges,), "weights": (edges,)}`: integers from
            0 to `nodes - 1`, and numbers. `"weights"` is optional, 1 by default. The weights of
            duplicate edges are summed.
        nodes: the number of nodes.
        x: as in `Graph`.
        e: edge features, in the order of the list.
        y: as in `Graph`.

    Returns:
        A `Graph`.

    Raises:
        ValueError: if an edge is out of range, or the arrays do not match.

    Example:

    >>> from keras_ssl import graphs
    >>> graph = graphs.from_edge_list({"senders": [0, 1], "receivers": [1, 2]}, nodes=3)
    >>> graph.a.toarray()
    array([[0., 0., 0.],
           [1., 0., 0.],
           [0., 1., 0.]], dtype=float32)
    """
    import scipy.sparse

    check_edge_list(edges, nodes)
    senders, receivers = (np.asarray(edges[name]) for name in ("senders", "receivers"))
    weights = np.asarray(edges.get("weights", np.ones(len(senders))), np.float32)
    if e is not None:
        e = np.asarray(e)
        if len(e) != len(senders):
            raise ValueError(
                f"`e` must have one row for each of the {len(senders)} edges. Received: "
                f"e.shape={e.shape}"
            )
        e = e[np.lexsort((senders, receivers))]
    a = scipy.sparse.coo_array((weights, (receivers, senders)), shape=(nodes, nodes))
    return Graph(x, a, e, y)


def from_networkx(
    graph: networkx.Graph,
    x: str | None = None,
    y: str | None = None,
    e: str | None = None,
    weight: str | None = "weight",
) -> Graph:
    """Create a graph from a networkx graph.

    Nodes keep the order of `graph.nodes`. For a directed edge `(u, v)`, `v` receives from `u`; an
    undirected edge goes both ways. The weights of parallel edges are summed.

    Args:
        graph: networkx graph, directed or not.
        x: name of the node attribute with the features, a number or vector for every node.
        y: name of the node attribute with the labels. Labels that are not numbers are replaced by
            their index in sorted order.
        e: name of the edge attribute with edge features, a number or vector for every edge.
        weight: name of the edge attribute with the weight, 1 for edges without it; or `None` for
            weights of 1.

    Returns:
        A `Graph`.

    Raises:
        TypeError: if `graph` is not a networkx graph, features or weights are not numbers, or
            labels cannot be sorted.
        ValueError: if a node or edge lacks a named attribute, attributes differ in length, or
            parallel edges have features.

    Example:

    >>> import networkx
    >>> from keras_ssl import graphs
    >>> club = networkx.karate_club_graph()
    >>> graphs.from_networkx(club, y="club", weight=None)
    Graph(nodes=34, edges=156, y=(34,))
    """
    import networkx

    if not isinstance(graph, networkx.Graph):
        raise TypeError(
            f"`graph` must be a networkx graph. Received: {graph!r} of type {type(graph)}"
        )
    a = _weights(graph, weight)
    features = None if e is None else _edge_features(graph, e)
    labels = None if y is None else _attributes(graph.nodes(data=True), y)
    if labels is not None and labels.dtype.kind not in "biuf":
        labels = _numbered(labels, y)
    nodes = None if x is None else _attributes(graph.nodes(data=True), x)
    if nodes is not None and nodes.ndim == 1:
        nodes = nodes[:, None]
    return Graph(nodes, a, features, labels)


def _weights(graph: networkx.Graph, weight: str | None) -> Any:
    """Return the adjacency, with receivers as rows."""
    import networkx
    import scipy.sparse

    if not len(graph):  # networkx raises an error
        return scipy.sparse.csr_array((0, 0), dtype=np.float32)
    try:
        return networkx.to_scipy_sparse_array(graph, weight=weight, dtype=np.float32).T
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`weight` must name an attribute that is a number for every edge. Received: "
            f"weight={weight!r}: {error}"
        ) from error


def _numbered(labels: np.ndarray, name: str) -> np.ndarray:
    try:
        return np.unique(labels, return_inverse=True)[1]
    except TypeError as error:
        raise TypeError(
            f"`y` must name labels of one type that can be sorted. Received: y={name!r}: {error}"
        ) from error


def _attributes(items: Any, name: str) -> np.ndarray:
    """Return one attribute of all nodes or edges as an array."""
    rows = []
    for *place, attributes in items:
        if name not in attributes:
            raise ValueError(
                f"Every node or edge must have the requested attribute. Received: "
                f"{name!r}, which {tuple(place)} lacks: it has {sorted(attributes)}"
            )
        rows.append(attributes[name])
    lengths = {np.shape(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(
            "An attribute must have the same shape for all nodes or edges. Received: "
            f"{name!r} of shapes {sorted(lengths)[:5]}"
        )
    return np.asarray(rows)


def _edge_features(graph: networkx.Graph, name: str) -> np.ndarray:
    """Return edge features, in the row-by-row order of the adjacency."""
    if graph.is_multigraph():
        raise ValueError("`e` needs a graph without parallel edges. Received: a multigraph")
    edges = list(graph.edges(data=True))
    features = _attributes(edges, name).reshape(len(edges), -1)
    number = {node: i for i, node in enumerate(graph)}
    senders = np.array([number[u] for u, _, _ in edges], int)
    receivers = np.array([number[v] for _, v, _ in edges], int)
    if not graph.is_directed():
        back = senders != receivers
        senders, receivers = (
            np.concatenate([senders, receivers[back]]),
            np.concatenate([receivers, senders[back]]),
        )
        features = np.concatenate([features, features[back]])
    return features[np.lexsort((senders, receivers))]
