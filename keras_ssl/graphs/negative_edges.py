"""Pairs of nodes without an edge, to tell edges from."""

import numbers
from typing import Any

import keras
import numpy as np

from keras_ssl.graphs.conversion import as_graph


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
    if isinstance(count, bool) or not isinstance(count, numbers.Integral):
        raise TypeError(f"`count` must be an integer. Received: {count!r}")
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
