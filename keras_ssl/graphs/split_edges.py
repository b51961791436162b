"""Edge splits and negative edges for link prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.graphs.checks import check_symmetric
from keras_ssl.graphs.conversion import as_graph

if TYPE_CHECKING:
    import scipy.sparse


def negative_edges(graph: Any, count: int, seed: int | None = None) -> np.ndarray:
    """Sample pairs of nodes without an edge in either direction, without replacement.

    Args:
        graph: graph of any kind that `keras_ssl.graphs.as_graph` takes.
        count: number of pairs.
        seed: integer seed.

    Returns:
        int64 array `(count, 2)` of pairs (i, j) with i < j, uniform over all sets of such pairs.

    Raises:
        TypeError: if `graph` is not a graph, or `count` not an integer.
        ValueError: if `count` is negative, or larger than the number of such pairs.

    Example:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> graphs.negative_edges(nx.path_graph(3), 1)
    array([[0, 2]])
    """
    count = checks.integer("count", count)
    a = as_graph(graph).a
    n = a.shape[0]
    joined = _joined(a)
    free = n * (n - 1) // 2 - len(joined)
    if not 0 <= count <= free:
        raise ValueError(
            f"`count` must be from 0 to {free}, the pairs of different nodes without an edge. "
            f"Received: count={count}"
        )
    rng = np.random.default_rng(seed)
    # ranks among the pairs without an edge
    rank = rng.choice(free, count, replace=False)
    # to get ranks among all pairs, add the number of edges that come before each
    number = rank + np.searchsorted(joined - np.arange(len(joined)), rank, side="right")
    return _pair(number, n)


def uniform_pairs(
    count: Any, nodes: int, seed: int | keras.random.SeedGenerator | None = None
) -> Any:
    """Sample pairs of nodes uniformly on the device, with or without an edge.

    These are cheap negatives for large sparse graphs, where few random pairs have an edge;
    `keras_ssl.graphs.is_edge` finds those that have one.

    Args:
        count: number of pairs; may be a tensor.
        nodes: the number of nodes, at least 1.
        seed: integer or `keras.random.SeedGenerator`.

    Returns:
        int32 tensor `(count, 2)`.

    Raises:
        ValueError: if `nodes` is not at least 1.

    Example:

    >>> from keras_ssl import graphs
    >>> graphs.uniform_pairs(4, nodes=10, seed=0).shape
    TensorShape([4, 2])
    """
    if nodes < 1:
        raise ValueError(f"`nodes` must be at least 1. Received: {nodes}")
    return keras.random.randint((count, 2), 0, nodes, dtype="int32", seed=seed)


def _joined(a: Any) -> np.ndarray:
    """Return the sorted indices of pairs i < j with an edge."""
    edges = a.tocoo()
    low, high = np.minimum(edges.row, edges.col), np.maximum(edges.row, edges.col)
    return np.unique(_index(low, high, a.shape[0])[low < high])


def _index(low: np.ndarray, high: np.ndarray, n: int) -> np.ndarray:
    """Return the indices of pairs low < high in the order (0, 1), (0, 2), ..., (1, 2), ..."""
    low, high = low.astype("int64"), high.astype("int64")
    return _first_of(low, n) + high - low - 1


def _pair(number: np.ndarray, n: int) -> np.ndarray:
    """Return the pairs at indices of that order."""
    starts = _first_of(np.arange(n), n)
    low = np.searchsorted(starts[: max(n - 1, 1)], number, side="right") - 1
    return np.stack([low, number - starts[low] + low + 1], axis=1)


def _first_of(low: np.ndarray, n: int) -> np.ndarray:
    """Return the index of the pair (low, low + 1)."""
    return low * n - low * (low + 1) // 2


class EdgeSplit(NamedTuple):
    """A training graph, the edges hidden from it, and as many pairs without an edge.

    Attributes:
        a: adjacency of the training graph, `scipy.sparse.csr_array` `(n, n)`: symmetric, without
            self-loops.
        validation: int64 `(v, 2)`: hidden edges, as pairs of nodes i < j.
        validation_negatives: int64 `(v, 2)`: pairs without an edge in the whole graph.
        test: int64 `(t, 2)`: other hidden edges.
        test_negatives: int64 `(t, 2)`: other pairs without an edge.
    """

    a: scipy.sparse.csr_array
    validation: np.ndarray
    validation_negatives: np.ndarray
    test: np.ndarray
    test_negatives: np.ndarray


def split_edges(
    graph: Any, validation: float = 0.05, test: float = 0.10, seed: int | None = None
) -> EdgeSplit:
    """Split the edges of an undirected graph for link prediction, as Kipf and Welling do.

    Self-loops are removed. Random shares of the undirected edges, rounded down, are hidden for
    validation and test, each with the same number of pairs without an edge. The other edges are
    the training graph.

    Args:
        graph: undirected graph of any kind that `keras_ssl.graphs.as_graph` takes.
        validation: share of the edges, in [0, 1).
        test: share of the edges, in [0, 1). The sum of both is less than 1.
        seed: integer seed.

    Returns:
        `EdgeSplit`, whose pairs `keras_ssl.evaluate.link_prediction` takes.

    Raises:
        TypeError: if `graph` is not a graph, or a share not a number.
        ValueError: if the graph is not symmetric, has no edges or too few pairs without an edge, or
            a share is out of range.

    Example:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> split = graphs.split_edges(nx.cycle_graph(20), seed=0)
    >>> split.a.nnz // 2, split.validation.shape, split.test.shape, split.test_negatives.shape
    (17, (1, 2), (2, 2), (2, 2))

    Reference:
        - [Kipf & Welling, Variational Graph Auto-Encoders](https://arxiv.org/abs/1611.07308)
    """
    import scipy.sparse

    checks.below_one("validation", validation)
    checks.below_one("test", test)
    if validation + test >= 1:
        raise ValueError(
            "`validation` and `test` must leave edges to train on. "
            f"Received: validation={validation}, test={test}"
        )
    a = as_graph(graph).a
    check_symmetric(a, "graph")
    edges = scipy.sparse.triu(a, k=1, format="coo")
    if not edges.nnz:
        raise ValueError(
            "`graph` must have edges other than self-loops. Received: "
            f"{a.shape[0]} nodes and no edge"
        )
    v, t = (int(share * edges.nnz + 1e-9) for share in (validation, test))
    order = np.random.default_rng(seed).permutation(edges.nnz)
    row, column, weight = edges.row[order], edges.col[order], edges.data[order]
    pairs = np.stack([row, column], axis=1).astype("int64")
    kept = slice(v + t, None)
    half = scipy.sparse.csr_array((weight[kept], (row[kept], column[kept])), a.shape)
    try:
        negatives = negative_edges(a, v + t, seed)
    except ValueError as error:
        raise ValueError(
            f"`graph` must have at least {v + t} pairs of nodes without an edge, the number of "
            f"hidden edges. Received: {a.shape[0]} nodes and {edges.nnz} edges"
        ) from error
    return EdgeSplit(
        a=(half + half.T).tocsr(),
        validation=pairs[:v],
        validation_negatives=negatives[:v],
        test=pairs[v : v + t],
        test_negatives=negatives[v:],
    )
