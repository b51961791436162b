"""The neighbours of every node, in arrays that a device can look things up in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_ssl.graphs.conversion import as_graph


class Neighbors(NamedTuple):
    """For every node, the nodes that it sends to, sorted.

    Attributes:
        offsets: int32 `(n + 1,)`: the neighbours of node v stand from `offsets[v]` to before
            `offsets[v + 1]`.
        nodes: int32 `(edges,)`: the neighbours of node 0, then those of node 1, and so on.
        shares: float32 `(edges,)`: the share of a node's weights that stands up to here, 1 at its
            last neighbour. `None` if all edges of a node weigh the same.
        largest_degree: how many neighbours a node has at most.
    """

    offsets: Any
    nodes: Any
    shares: Any
    largest_degree: int


def neighbors_of(graph: Any) -> Neighbors:
    """Look up whom each node sends to: where a walk may go from it.

    Args:
        graph: graph of any kind that `keras_ssl.graphs.as_graph` knows.

    Returns:
        `Neighbors` of NumPy arrays.

    Raises:
        TypeError: if `graph` is no graph.
        ValueError: if it has no edges, or weights below 0.

    Example:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> neighbours = graphs.neighbors_of(nx.path_graph(3))
    >>> neighbours.offsets.tolist(), neighbours.nodes.tolist()
    ([0, 1, 3, 4], [1, 0, 2, 1])
    """
    a = as_graph(graph).a
    if not a.nnz:
        raise ValueError(f"`graph` must have edges. Received: {a.shape[0]} nodes and no edge")
    if a.data.min() < 0:
        raise ValueError(
            f"`graph` must have weights above 0. Received: a smallest weight of {a.data.min()}"
        )
    sent = a.T.tocsr()
    sent.sort_indices()
    degrees = np.diff(sent.indptr)
    node = np.repeat(np.arange(a.shape[0]), degrees)
    is_plain = np.all(sent.data == sent.data[sent.indptr[node]])
    return Neighbors(
        offsets=sent.indptr.astype("int32"),
        nodes=sent.indices.astype("int32"),
        shares=None if is_plain else _shares(sent.data, sent.indptr, node),
        largest_degree=int(degrees.max()),
    )


def _shares(weights: np.ndarray, offsets: np.ndarray, node: np.ndarray) -> np.ndarray:
    until = np.cumsum(weights, dtype="float64")
    before = np.concatenate([[0.0], until])[offsets]
    start, total = before[:-1][node], np.diff(before)[node]
    shares = ((until - start) / total).astype("float32")
    shares[offsets[1:][np.diff(offsets) > 0] - 1] = 1.0
    return shares


def pick(neighbours: Neighbors, nodes: Any, uniform: Any) -> Any:
    """A random neighbour of each node, by the weights of its edges.

    Args:
        neighbours: those of the graph.
        nodes: int32 tensor.
        uniform: float32 tensor of numbers in [0, 1), of the shape of `nodes` or with more axes
            that `nodes` broadcasts to.

    Returns:
        int32 tensor of the shape of `uniform`; a node without neighbours is its own.

    Example:

    >>> import networkx as nx, numpy as np
    >>> from keras_ssl.graphs.neighbors import neighbors_of, pick
    >>> pick(neighbors_of(nx.path_graph(3)), np.array([1, 1]), np.array([0.2, 0.8])).numpy()
    array([0, 2], dtype=int32)
    """
    nodes = ops.cast(nodes, "int32")
    low = ops.take(neighbours.offsets, nodes)
    high = ops.take(neighbours.offsets, nodes + 1)
    if neighbours.shares is None:
        degree = high - low
        place = ops.cast(ops.floor(uniform * ops.cast(degree, "float32")), "int32")
        # rounding may reach the degree itself
        place = low + ops.minimum(place, ops.maximum(degree - 1, 0))
    else:
        place = _first_not_below(neighbours.shares, low, high, uniform, neighbours.largest_degree)
    return ops.where(high > low, _look_up(neighbours.nodes, place), nodes)


def is_edge(neighbours: Neighbors, senders: Any, receivers: Any) -> Any:
    """Whether there is an edge from one node to another, for many pairs at once.

    A binary search among the sorted neighbours of the sender.

    Args:
        neighbours: those of the graph, of `keras_ssl.graphs.neighbors_of`.
        senders: integers of any shape.
        receivers: integers of a shape that broadcasts with that of `senders`.

    Returns:
        Boolean tensor of the shape that both broadcast to.

    Example:

    >>> import networkx as nx, numpy as np
    >>> from keras_ssl import graphs
    >>> neighbours = graphs.neighbors_of(nx.path_graph(4))
    >>> graphs.is_edge(neighbours, np.array([0, 0, 2]), np.array([1, 2, 3])).numpy()
    array([ True, False,  True])
    """
    senders, receivers = ops.cast(senders, "int32"), ops.cast(receivers, "int32")
    senders = senders + ops.zeros_like(receivers)
    low, high = ops.take(neighbours.offsets, senders), ops.take(neighbours.offsets, senders + 1)
    place = _first_not_below(neighbours.nodes, low, high, receivers, neighbours.largest_degree)
    return ops.logical_and(place < high, _look_up(neighbours.nodes, place) == receivers)


def _first_not_below(values: Any, low: Any, high: Any, target: Any, longest: int) -> Any:
    """The first place from `low` to before `high` whose value is not below the target."""
    low, high = (end + ops.zeros_like(ops.cast(target, "int32")) for end in (low, high))

    def halve(_: Any, ends: tuple) -> tuple:
        low, high = ends
        middle = (low + high) // 2
        is_later = ops.logical_and(low < high, _look_up(values, middle) < target)
        return ops.where(is_later, middle + 1, low), ops.where(is_later, high, middle)

    # a loop: XLA takes minutes to compile as many halvings one after the other
    return ops.fori_loop(0, longest.bit_length(), halve, (low, high))[0]


def _look_up(values: Any, place: Any) -> Any:
    """The values at places; whatever stands at the end for the place after it."""
    return ops.take(values, ops.minimum(place, values.shape[0] - 1))
