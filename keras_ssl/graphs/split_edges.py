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
    """Draw pairs of different nodes that no edge joins, in neither direction, none twice.

    Args:
        graph: graph of any kind that `keras_ssl.graphs.as_graph` knows.
        count: how many pairs.
        seed: integer seed.

    Returns:
        int64 array `(count, 2)`: pairs (i, j) with i < j, every set of pairs equally probable.

    Raises:
        TypeError: if `graph` is no graph, or `count` no integer.
        ValueError: if `count` is negative, or larger than the number of such pairs.

    Example:

    A path of three nodes has one pair that is not joined:

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
    # the ranks that the drawn pairs have among those without an edge
    rank = rng.choice(free, count, replace=False)
    # a pair without an edge comes after as many edges as have fewer free pairs before them
    number = rank + np.searchsorted(joined - np.arange(len(joined)), rank, side="right")
    return _pair(number, n)


def uniform_pairs(
    count: Any, nodes: int, seed: int | keras.random.SeedGenerator | None = None
) -> Any:
    """Draw pairs of nodes on the device, all equally probable, joined or not.

    The quick negatives of large sparse graphs, where few pairs are joined by chance; which ones
    are, `keras_ssl.graphs.is_edge` tells.

    Args:
        count: how many pairs; may be a tensor.
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
    """The numbers of pairs i < j that an edge joins, ascending."""
    edges = a.tocoo()
    low, high = np.minimum(edges.row, edges.col), np.maximum(edges.row, edges.col)
    return np.unique(_number(low, high, a.shape[0])[low < high])


def _number(low: np.ndarray, high: np.ndarray, n: int) -> np.ndarray:
    """The place of pairs low < high in the order (0, 1), (0, 2), ..., (1, 2), ..."""
    low, high = low.astype("int64"), high.astype("int64")
    return _first_of(low, n) + high - low - 1


def _pair(number: np.ndarray, n: int) -> np.ndarray:
    """The pairs at places of that order."""
    starts = _first_of(np.arange(n), n)
    low = np.searchsorted(starts[: max(n - 1, 1)], number, side="right") - 1
    return np.stack([low, number - starts[low] + low + 1], axis=1)


def _first_of(low: np.ndarray, n: int) -> np.ndarray:
    """The place of the pair (low, low + 1)."""
    return low * n - low * (low + 1) // 2


class EdgeSplit(NamedTuple):
    """A graph without the edges to predict, these edges, and as many pairs that are none.

    Attributes:
        a: adjacency of the training graph, `scipy.sparse.csr_array` `(n, n)`: symmetric, without
            self-loops.
        validation: int64 `(v, 2)`: hidden edges, as pairs of nodes i < j.
        validation_negatives: int64 `(v, 2)`: pairs that the whole graph does not join.
        test: int64 `(t, 2)`: other hidden edges.
        test_negatives: int64 `(t, 2)`: other pairs that it does not join.
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

    Of the undirected edges, self-loops left out, a random share goes to validation and another to
    test, both rounded down. Beside each stand equally many pairs of nodes without an edge. What
    is left is the graph to train on.

    Args:
        graph: undirected graph of any kind that `keras_ssl.graphs.as_graph` knows.
        validation: share of edges, from 0 to below 1.
        test: share of edges, from 0 to below 1. Both together are below 1.
        seed: integer seed.

    Returns:
        `EdgeSplit`. `keras_ssl.evaluate.link_prediction` takes its pairs.

    Raises:
        TypeError: if `graph` is no graph, or a share no number.
        ValueError: if the graph is not symmetric, has no edges, too few pairs that are not joined,
            or shares are out of range.

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

    _check_shares(validation, test)
    a = as_graph(graph).a
    check_symmetric(a, "graph")
    edges = scipy.sparse.triu(a, k=1, format="coo")
    if not edges.nnz:
        raise ValueError(
            f"`graph` must have edges besides self-loops. Received: {a.shape[0]} nodes, no edge"
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
            "`graph` must leave as many pairs of nodes without an edge as edges are hidden, "
            f"{v + t}. Received: {a.shape[0]} nodes and {edges.nnz} edges"
        ) from error
    return EdgeSplit(
        a=(half + half.T).tocsr(),
        validation=pairs[:v],
        validation_negatives=negatives[:v],
        test=pairs[v : v + t],
        test_negatives=negatives[v:],
    )


def _check_shares(validation: float, test: float) -> None:
    checks.below_one("validation", validation)
    checks.below_one("test", test)
    if validation + test >= 1:
        raise ValueError(
            "`validation` and `test` must leave edges to train on. "
            f"Received: validation={validation}, test={test}"
        )
