"""Random walks of node2vec, batched, with tensor operations."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.graphs._hashed_uniform import hashed_uniform
from keras_ssl.graphs.conversion import as_graph


class Neighbors(NamedTuple):
    """For every node, the sorted nodes that it sends to.

    Attributes:
        offsets: int32 `(n + 1,)`: the neighbors of node v are `nodes[offsets[v]:offsets[v + 1]]`.
        nodes: int32 `(edges,)`: the neighbors of node 0, then those of node 1, and so on.
        shares: float32 `(edges,)`: cumulative shares of each node's weights, 1 at its last
            neighbor. `None` if the edges of each node have equal weights.
        largest_degree: the largest number of neighbors of a node.
    """

    offsets: Any
    nodes: Any
    shares: Any
    largest_degree: int


def neighbors_of(graph: Any) -> Neighbors:
    """Return the nodes that each node sends to, where a walk may continue.

    Args:
        graph: graph of any kind that `keras_ssl.graphs.as_graph` takes.

    Returns:
        `Neighbors` of NumPy arrays.

    Raises:
        TypeError: if `graph` is not a graph.
        ValueError: if it has no edges, or negative weights.

    Example:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> neighbors = graphs.neighbors_of(nx.path_graph(3))
    >>> neighbors.offsets.tolist(), neighbors.nodes.tolist()
    ([0, 1, 3, 4], [1, 0, 2, 1])
    """
    a = as_graph(graph).a
    if not a.nnz:
        raise ValueError(f"`graph` must have edges. Received: {a.shape[0]} nodes and no edge")
    if a.data.min() < 0:
        raise ValueError(
            f"`graph` must have positive weights. Received: a smallest weight of {a.data.min()}"
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


def pick(neighbors: Neighbors, nodes: Any, uniform: Any) -> Any:
    """Return a random neighbor of each node, with probabilities proportional to edge weights.

    `uniform` are float32 numbers in [0, 1), of a shape that `nodes` broadcast to. Nodes without
    neighbors are returned themselves.
    """
    nodes = ops.cast(nodes, "int32")
    low = ops.take(neighbors.offsets, nodes)
    high = ops.take(neighbors.offsets, nodes + 1)
    if neighbors.shares is None:
        degree = high - low
        place = ops.cast(ops.floor(uniform * ops.cast(degree, "float32")), "int32")
        # rounding may reach the degree itself
        place = low + ops.minimum(place, ops.maximum(degree - 1, 0))
    else:
        place = _first_not_below(neighbors.shares, low, high, uniform, neighbors.largest_degree)
    return ops.where(high > low, _look_up(neighbors.nodes, place), nodes)


def is_edge(neighbors: Neighbors, senders: Any, receivers: Any) -> Any:
    """Whether pairs of nodes are connected, by binary search in the neighbors of the senders.

    Args:
        neighbors: the result of `keras_ssl.graphs.neighbors_of`.
        senders: integers of any shape.
        receivers: integers of a shape that broadcasts with that of `senders`.

    Returns:
        Boolean tensor of the broadcast shape.

    Example:

    >>> import networkx as nx, numpy as np
    >>> from keras_ssl import graphs
    >>> neighbors = graphs.neighbors_of(nx.path_graph(4))
    >>> graphs.is_edge(neighbors, np.array([0, 0, 2]), np.array([1, 2, 3])).numpy()
    array([ True, False,  True])
    """
    senders, receivers = ops.cast(senders, "int32"), ops.cast(receivers, "int32")
    senders = senders + ops.zeros_like(receivers)
    low, high = ops.take(neighbors.offsets, senders), ops.take(neighbors.offsets, senders + 1)
    place = _first_not_below(neighbors.nodes, low, high, receivers, neighbors.largest_degree)
    return ops.logical_and(place < high, _look_up(neighbors.nodes, place) == receivers)


def _first_not_below(values: Any, low: Any, high: Any, target: Any, longest: int) -> Any:
    """Return the first index in `range(low, high)` whose value is not less than the target."""
    low, high = (end + ops.zeros_like(ops.cast(target, "int32")) for end in (low, high))

    def halve(_: Any, ends: tuple) -> tuple:
        low, high = ends
        middle = (low + high) // 2
        is_later = ops.logical_and(low < high, _look_up(values, middle) < target)
        return ops.where(is_later, middle + 1, low), ops.where(is_later, high, middle)

    # a loop, since XLA takes minutes to compile the unrolled search
    return ops.fori_loop(0, longest.bit_length(), halve, (low, high))[0]


def _look_up(values: Any, place: Any) -> Any:
    """Return the values at indices, the last value for an index past the end."""
    return ops.take(values, ops.minimum(place, values.shape[0] - 1))


# proposals per round of rejection sampling, and the largest number of rounds
_PROPOSALS = 16
_MOST_ROUNDS = 256


def random_walks(
    graph: Any,
    starts: Any,
    length: int,
    p: float = 1.0,
    q: float = 1.0,
    seed: int | keras.random.SeedGenerator | None = None,
) -> Any:
    """Draw random walks of node2vec along the edges of a graph.

    A walk that came from node t to node v continues over an edge (v, x) of weight w_vx with a
    probability proportional to α(t, x) w_vx, where

        α(t, x) = 1/p if x = t,    1 if there is an edge (t, x),    1/q otherwise

    A small p keeps walks near their start, a small q lets them explore. With p = q = 1 these are
    the walks of DeepWalk. The first step depends on the weights only. Walks follow edges from
    sender to receiver; they stay at a node without outgoing edges.

    Steps are drawn by rejection sampling: proposed according to the weights, and accepted with
    probability α / max(1, 1/p, 1/q). Unlike the authors' tables, memory does not grow with pairs of
    edges. Shapes are static. After 4,096 rejections the last proposal is accepted.

    Args:
        graph: graph of any kind that `keras_ssl.graphs.as_graph` takes, with positive weights; or
            the result of `keras_ssl.graphs.neighbors_of`, which is then not computed again.
        starts: integers `(batch,)`, the first nodes.
        length: number of steps, at least 1.
        p: return parameter, positive.
        q: in-out parameter, positive.
        seed: integer or `keras.random.SeedGenerator`.

    Returns:
        int32 tensor `(batch, length + 1)`: the start and the node after each step.

    Raises:
        TypeError: if `graph` is not a graph, an argument not a number, or `starts` not integers.
        ValueError: if the graph has no edges, or a number is out of range.

    Example:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> walks = graphs.random_walks(nx.path_graph(2), [0, 1], length=3)
    >>> walks.numpy()
    array([[0, 1, 0, 1],
           [1, 0, 1, 0]], dtype=int32)

    Reference:
        - [Grover & Leskovec, node2vec](https://arxiv.org/abs/1607.00653)
        - [Perozzi et al., DeepWalk](https://arxiv.org/abs/1403.6652), p = q = 1
    """
    check_walk(length, p, q)
    neighbors = graph if isinstance(graph, Neighbors) else neighbors_of(graph)
    starts = ops.convert_to_tensor(starts)
    check_nodes(starts, "starts")
    drawn = draw_steps(ops.shape(starts)[0], length, seed)
    return walk(neighbors, starts, drawn, p, q)


def draw_steps(batch_size: Any, length: int, seed: Any) -> Any:
    """Draw the random integers that `walk` needs, one per step, `(batch_size, length)`, int32."""
    return keras.random.randint((batch_size, length), 0, 2**31 - 1, dtype="int32", seed=seed)


def walk(neighbors: Neighbors, starts: Any, drawn: Any, p: float, q: float) -> Any:
    """Return `random_walks` `(batch, length + 1)` computed from the integers of `draw_steps`."""
    offsets, nodes, shares, largest_degree = neighbors
    shares = None if shares is None else ops.convert_to_tensor(shares)
    neighbors = Neighbors(
        ops.convert_to_tensor(offsets), ops.convert_to_tensor(nodes), shares, largest_degree
    )
    length = drawn.shape[1]
    step_of_column = ops.arange(length + 1, dtype="int32")
    start = ops.cast(starts, "int32")
    first = pick(neighbors, start, hashed_uniform(drawn[:, 0], 0))
    walks = ops.where(step_of_column == 0, start[:, None], first[:, None])

    def one_step(step: Any, state: tuple) -> tuple:
        walks, previous, current = state
        numbers_of_step = ops.take(drawn, step, axis=1)
        if p == q == 1:
            following = pick(neighbors, current, hashed_uniform(numbers_of_step, 0))
        else:
            following = _biased_step(neighbors, previous, current, numbers_of_step, p, q)
        walks = ops.where(step_of_column > step, following[:, None], walks)
        return walks, current, following

    return ops.fori_loop(1, length, one_step, (walks, start, first))[0]


def _biased_step(
    neighbors: Neighbors, previous: Any, current: Any, drawn: Any, p: float, q: float
) -> Any:
    """Return the node after `current` for walks that came from `previous`."""
    largest = max(1.0, 1 / p, 1 / q)
    degree = ops.take(neighbors.offsets, current + 1) - ops.take(neighbors.offsets, current)
    counter = ops.arange(2 * _PROPOSALS, dtype="int32")

    def propose(turn: Any, is_open: Any, chosen: Any) -> tuple:
        uniform = hashed_uniform(drawn[:, None], counter + turn * 2 * _PROPOSALS)
        proposed = pick(neighbors, current[:, None], uniform[:, :_PROPOSALS])
        is_near = is_edge(neighbors, previous[:, None], proposed)
        alpha = ops.where(is_near, 1.0, 1 / q)
        alpha = ops.where(proposed == previous[:, None], 1 / p, alpha)
        is_accepted = uniform[:, _PROPOSALS:] * largest < alpha
        # the first accepted proposal, or the last one
        is_last = ops.arange(_PROPOSALS, dtype="int32") == _PROPOSALS - 1
        first = ops.argmax(ops.cast(ops.logical_or(is_accepted, is_last), "int32"), axis=1)
        found = ops.take_along_axis(proposed, ops.cast(first, "int32")[:, None], axis=1)[:, 0]
        is_open_still = ops.logical_and(is_open, ops.logical_not(ops.any(is_accepted, axis=1)))
        return turn + 1, is_open_still, ops.where(is_open, found, chosen)

    # with a single neighbor there is nothing to reject
    only = pick(neighbors, current, hashed_uniform(drawn, 0))
    start = (ops.convert_to_tensor(0, "int32"), degree > 1, only)
    return ops.while_loop(
        lambda turn, is_open, chosen: ops.any(is_open),
        propose,
        start,
        maximum_iterations=_MOST_ROUNDS,
    )[2]


def check_walk(length: int, p: float, q: float, name: str = "length") -> None:
    """Validate the parameters of random walks; `name` is what the caller calls their length."""
    checks.integer(name, length, minimum=1)
    checks.positive("p", p)
    checks.positive("q", q)


def check_nodes(nodes: Any, name: str) -> None:
    """Check that a tensor is a vector of integers."""
    dtype = keras.backend.standardize_dtype(nodes.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise TypeError(f"`{name}` must hold indices of nodes, integers. Received: dtype {dtype}")
    if len(nodes.shape) != 1:
        raise ValueError(f"`{name}` must have shape (batch,). Received: shape {tuple(nodes.shape)}")
