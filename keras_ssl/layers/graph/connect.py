"""Read the edges of an adjacency of any form."""

from typing import Any

from keras import ops

from keras_ssl.layers.graph.dense_edges import DenseEdges
from keras_ssl.layers.graph.edges import Edges
from keras_ssl.layers.graph.listed_edges import listed_edges
from keras_ssl.layers.graph.sparse_tensors import coordinates, is_sparse


def connect(x: Any, a: Any) -> Edges:
    """Read the edges between nodes.

    Args:
        x: features of the nodes, `(nodes, features)` or `(batch, nodes, features)`, dense or
            sparse.
        a: adjacency. `a[i, j]` is the weight of the edge over which node i receives from node j;
            0 is no edge. A dense tensor `(nodes, nodes)` or `(batch, nodes, nodes)`, a sparse
            tensor `(nodes, nodes)`, or an edge list: a dictionary of `senders` and `receivers`,
            integers of shape `(edges,)`, and `weights` of the same shape, which may be missing
            for edges of weight 1.

    Returns:
        The `Edges`.

    Raises:
        ValueError: if the shapes do not fit one another.
        TypeError: if `a` has none of the three forms.
    """
    check_adjacency(tuple(x.shape), shape_of(a))
    if isinstance(a, dict) or is_sparse(a):
        nodes = x.shape[-2]
        return listed_edges(a, ops.shape(x)[-2] if nodes is None else nodes)
    return DenseEdges(a)


def shape_of(a: Any) -> Any:
    """Return the shape of an adjacency, of an edge list as a dictionary of shapes.

    Args:
        a: adjacency of any form.

    Returns:
        A tuple, or a dictionary of tuples.

    Raises:
        TypeError: if `a` is no adjacency.
    """
    if isinstance(a, dict):
        return {key: tuple(value.shape) for key, value in a.items()}
    if not hasattr(a, "shape"):
        raise TypeError(
            "The adjacency must be a dense or sparse tensor, or a dictionary of 'senders', "
            f"'receivers' and 'weights'. Received: {type(a)}"
        )
    return tuple(a.shape)


def check_adjacency(x: tuple, a: Any) -> None:
    """Raise unless the shapes of node features and adjacency fit one another.

    Args:
        x: shape of the features.
        a: shape of the adjacency, of an edge list a dictionary of shapes.

    Raises:
        ValueError: if they do not.
    """
    if len(x) not in (2, 3):
        raise ValueError(
            "Node features must be of shape (nodes, features) or (batch, nodes, features). "
            f"Received: shape {x}"
        )
    if isinstance(a, dict):
        _check_edge_list(a)
        return
    if len(a) not in (2, 3) or len(a) > len(x):
        raise ValueError(
            "The adjacency must be of shape (nodes, nodes), or (batch, nodes, nodes) where the "
            f"features are of shape (batch, nodes, features). Received: shape {a} with features "
            f"of shape {x}"
        )
    rows, columns = a[-2:]
    if None not in (rows, columns) and rows != columns:
        raise ValueError(f"The adjacency must be square. Received: shape {a}")
    if None not in (rows, x[-2]) and rows != x[-2]:
        raise ValueError(
            f"Features and adjacency must be of the same nodes. Received: features of {x[-2]} "
            f"nodes (shape {x}), adjacency of {rows} (shape {a})"
        )


def check_edge_features(x: Any, a: Any, e: Any) -> None:
    """Raise unless there are features of every edge.

    Args:
        x: features of the nodes.
        a: adjacency of any form.
        e: features of the edges.

    Raises:
        ValueError: if their shape does not fit the adjacency.
    """
    if isinstance(a, dict):
        edges = tuple(a["senders"].shape)
    else:
        edges = tuple(coordinates(a).shape[:1]) if is_sparse(a) else tuple(a.shape[-2:])
    of_all, of_each = edges, (*x.shape[:-2], *edges)
    if not any(_fits(tuple(e.shape[:-1]), places) for places in (of_all, of_each)):
        raise ValueError(
            "Features of edges must be of shape (edges, features), in the order of the edges of a "
            "list or a sparse adjacency, or (nodes, nodes, features) of a dense one; the same for "
            f"all of a batch or (batch, ...). Received: features of shape {tuple(e.shape)} of "
            f"{edges} edges"
        )


def _fits(shape: tuple, wanted: tuple) -> bool:
    return len(shape) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, wanted, strict=True)
    )


def _check_edge_list(a: dict) -> None:
    if not {"senders", "receivers"} <= set(a) <= {"senders", "receivers", "weights"}:
        raise ValueError(
            "An edge list must be a dictionary of 'senders', 'receivers' and, where edges have "
            f"them, 'weights'. Received: {sorted(a)}"
        )
    if any(len(shape) != 1 for shape in a.values()) or len({*a.values()} - {(None,)}) > 1:
        raise ValueError(
            "The parts of an edge list must be vectors of one length. Received: shapes "
            f"{ {key: tuple(shape) for key, shape in a.items()} }"
        )
