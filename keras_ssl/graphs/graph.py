"""`Graph`: the features, edges and labels of one graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_ssl.graphs.checks import check_finite
from keras_ssl.graphs.forms import as_csr


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """One graph: node features, adjacency, edge features, labels and splits of the nodes.

    `a[i, j]` is the weight of the edge from node `j` to node `i`, so that `a @ x` sums what each
    node receives. A weight of 0 means that there is no edge: zeros stored in `a` are dropped, and
    so are their rows of `e`.

    The constructor checks and converts its arguments. Graphs are immutable;
    `dataclasses.replace(graph, x=...)` returns a changed copy.

    Args:
        x: node features, array or scipy.sparse of shape `(n, features)`, or `None`. Stored as
            float32, sparse features as `csr_array`.
        a: adjacency, scipy.sparse or array of shape `(n, n)`. Stored as float32
            `scipy.sparse.csr_array` with sorted columns.
        e: edge features of shape `(edges, features)`, in the row-by-row order of `a`, or `None`.
            Stored as float32.
        y: labels of the nodes, `(n,)` or `(n, ...)`; or label of the graph, a number or vector; or
            `None`.
        splits: boolean masks of the nodes, by name: `{"train": (n,), "val": (n,), "test": (n,)}`.

    Raises:
        TypeError: if an argument is not an array of numbers.
        ValueError: if `a` is not square, the numbers of nodes or edges differ, a number is NaN or
            infinite, or a split is not a boolean mask.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> graph = graphs.Graph(np.eye(3), path, y=[0, 1, 0])
    >>> graph
    Graph(nodes=3, edges=4, x=(3, 3), y=(3,))
    >>> graph.nodes, graph.edges, graph.is_directed
    (3, 4, False)
    """

    x: Any = None
    a: Any = None
    e: Any = None
    y: Any = None
    splits: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.a is None:
            raise ValueError("`a` must be an adjacency matrix (n, n). Received: a=None")
        a, e = _edges(self.a, self.e)
        n = a.shape[0]
        x = None if self.x is None else _features(self.x, n)
        y = None if self.y is None else np.asarray(self.y)
        if y is not None and y.dtype.kind == "f":
            check_finite(y, "y")
        splits = {name: _mask(name, mask, n) for name, mask in dict(self.splits).items()}
        for name, value in {"x": x, "a": a, "e": e, "y": y, "splits": splits}.items():
            object.__setattr__(self, name, value)

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return self.a.shape[0]

    @property
    def edges(self) -> int:
        """The number of edges; an undirected edge counts twice, a self-loop once."""
        return self.a.nnz

    @property
    def is_directed(self) -> bool:
        """Whether an edge lacks a reverse edge of the same weight."""
        return bool((self.a != self.a.T).nnz)

    def __repr__(self) -> str:
        parts = [f"nodes={self.nodes}", f"edges={self.edges}"]
        fields = {"x": self.x, "e": self.e, "y": self.y}
        parts += [f"{key}={value.shape}" for key, value in fields.items() if value is not None]
        parts += [f"splits={list(self.splits)}"] if self.splits else []
        return f"Graph({', '.join(parts)})"


def _edges(a: Any, e: Any) -> tuple[Any, np.ndarray | None]:
    """Return the canonical adjacency, and the edge features in its order."""
    import scipy.sparse

    with np.errstate(over="ignore"):
        matrix = as_csr(a).astype(np.float32)
    check_finite(matrix, "a")  # float64 may overflow in float32
    if e is None:
        return matrix, None
    e = _numbers(e, "e")
    stored = scipy.sparse.coo_array(a)
    # sorts by row, then by column
    order = np.lexsort((stored.col, stored.row))
    rows, columns, weights = stored.row[order], stored.col[order], stored.data[order]
    if np.any((np.diff(rows) == 0) & (np.diff(columns) == 0)):
        raise ValueError(
            "`a` must hold every edge once if there are edge features. Received: an `a` with "
            "duplicate entries"
        )
    if e.ndim != 2 or len(e) != len(weights):
        raise ValueError(
            f"`e` must have shape (edges, features), one row for each of the {len(weights)} edges "
            f"of `a`. Received: e.shape={e.shape}"
        )
    return matrix, e[weights != 0]


def _features(x: Any, n: int) -> Any:
    import scipy.sparse

    if scipy.sparse.issparse(x) and x.dtype.kind in "biuf":
        x = scipy.sparse.csr_array(x, dtype=np.float32, copy=True)
        x.sum_duplicates()
        check_finite(x, "x")
    else:
        x = _numbers(x, "x")
    if x.ndim != 2 or x.shape[0] != n:
        raise ValueError(
            f"`x` must have shape (n, features), one row for each of the {n} nodes of `a`. "
            f"Received: x.shape={x.shape}"
        )
    return x


def _numbers(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"`{name}` must be an array of numbers. Received: {name} of type {type(values)}, "
            f"dtype {array.dtype}"
        )
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    check_finite(array, name)  # float64 may overflow in float32
    return array


def _mask(name: str, mask: Any, n: int) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != (n,):
        raise ValueError(
            f"`splits[{name!r}]` must be a boolean mask of shape ({n},). Received: shape "
            f"{mask.shape}, dtype {mask.dtype}"
        )
    return mask
