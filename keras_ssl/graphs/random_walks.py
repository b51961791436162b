"""node2vec's random walks, many at once, by tensor operations."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.graphs._hashed_uniform import hashed_uniform
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
    >>> from keras_ssl.graphs.random_walks import neighbors_of, pick
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


# steps that are proposed at a time, and after how many proposals the last one is taken
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
    """Walk at random along the edges of a graph, by node2vec's rule.

    A walk that came from node t to node v goes on over an edge (v, x) of weight w_vx with a
    probability that is proportional to α(t, x) w_vx, where

        α(t, x) = 1/p if x = t,    1 if there is an edge (t, x),    1/q otherwise

    A small p keeps walks near where they start, a small q lets them go far. With p = q = 1 these
    are the walks of DeepWalk. The first step is by weights alone. Walks follow edges from sender to
    receiver; at a node that sends to nobody they stay.

    Steps are drawn by rejection: proposed by weights alone, and accepted with probability
    α / max(1, 1/p, 1/q). Memory does not grow with pairs of edges, as that of the authors' tables
    does. No shape depends on values; a step's number of rounds does. After 4,096 proposals the last
    is taken.

    Args:
        graph: graph of any kind that `keras_ssl.graphs.as_graph` knows, with weights above 0; or
            its `keras_ssl.graphs.neighbors_of`, which saves looking them up in every call.
        starts: integers `(batch,)`: where walks start.
        length: how many steps to take, at least 1.
        p: return parameter, above 0.
        q: in-out parameter, above 0.
        seed: integer or `keras.random.SeedGenerator`.

    Returns:
        int32 tensor `(batch, length + 1)`: the start and the node after each step.

    Raises:
        TypeError: if `graph` is no graph, a number is none, or `starts` are no integers.
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
    neighbours = graph if isinstance(graph, Neighbors) else neighbors_of(graph)
    starts = ops.convert_to_tensor(starts)
    check_nodes(starts, "starts")
    drawn = draw_steps(ops.shape(starts)[0], length, seed)
    return walk(neighbours, starts, drawn, p, q)


def draw_steps(batch_size: Any, length: int, seed: Any) -> Any:
    """Draw what walks are made from: one integer for each step of each walk.

    Args:
        batch_size: how many walks.
        length: how many steps.
        seed: integer or `keras.random.SeedGenerator`.

    Returns:
        int32 tensor `(batch_size, length)`.

    Example:

    >>> from keras_ssl.graphs.random_walks import draw_steps
    >>> draw_steps(2, 5, seed=0).shape
    TensorShape([2, 5])
    """
    return keras.random.randint((batch_size, length), 0, 2**31 - 1, dtype="int32", seed=seed)


def walk(neighbours: Neighbors, starts: Any, drawn: Any, p: float, q: float) -> Any:
    """Walk by numbers that are drawn already: see `keras_ssl.graphs.random_walks`.

    Args:
        neighbours: those of the graph.
        starts: integers `(batch,)`.
        drawn: random integers `(batch, length)`, of `draw_steps`.
        p: return parameter.
        q: in-out parameter.

    Returns:
        int32 tensor `(batch, length + 1)`.

    Example:

    >>> import networkx as nx
    >>> from keras_ssl.graphs.random_walks import neighbors_of
    >>> from keras_ssl.graphs.random_walks import draw_steps, walk
    >>> walk(neighbors_of(nx.path_graph(2)), [0], draw_steps(1, 3, seed=0), p=1.0, q=1.0).numpy()
    array([[0, 1, 0, 1]], dtype=int32)
    """
    offsets, nodes, shares, largest_degree = neighbours
    shares = None if shares is None else ops.convert_to_tensor(shares)
    neighbours = Neighbors(
        ops.convert_to_tensor(offsets), ops.convert_to_tensor(nodes), shares, largest_degree
    )
    length = drawn.shape[1]
    step_of_column = ops.arange(length + 1, dtype="int32")
    start = ops.cast(starts, "int32")
    first = pick(neighbours, start, hashed_uniform(drawn[:, 0], 0))
    walks = ops.where(step_of_column == 0, start[:, None], first[:, None])

    def one_step(step: Any, state: tuple) -> tuple:
        walks, previous, current = state
        numbers_of_step = ops.take(drawn, step, axis=1)
        if p == q == 1:
            following = pick(neighbours, current, hashed_uniform(numbers_of_step, 0))
        else:
            following = _biased_step(neighbours, previous, current, numbers_of_step, p, q)
        walks = ops.where(step_of_column > step, following[:, None], walks)
        return walks, current, following

    return ops.fori_loop(1, length, one_step, (walks, start, first))[0]


def _biased_step(
    neighbours: Neighbors, previous: Any, current: Any, drawn: Any, p: float, q: float
) -> Any:
    """The node after `current` of walks that came from `previous`."""
    largest = max(1.0, 1 / p, 1 / q)
    degree = ops.take(neighbours.offsets, current + 1) - ops.take(neighbours.offsets, current)
    counter = ops.arange(2 * _PROPOSALS, dtype="int32")

    def propose(turn: Any, is_open: Any, chosen: Any) -> tuple:
        uniform = hashed_uniform(drawn[:, None], counter + turn * 2 * _PROPOSALS)
        proposed = pick(neighbours, current[:, None], uniform[:, :_PROPOSALS])
        is_near = is_edge(neighbours, previous[:, None], proposed)
        alpha = ops.where(is_near, 1.0, 1 / q)
        alpha = ops.where(proposed == previous[:, None], 1 / p, alpha)
        is_accepted = uniform[:, _PROPOSALS:] * largest < alpha
        # the first that is accepted; the last where none is
        is_last = ops.arange(_PROPOSALS, dtype="int32") == _PROPOSALS - 1
        first = ops.argmax(ops.cast(ops.logical_or(is_accepted, is_last), "int32"), axis=1)
        found = ops.take_along_axis(proposed, ops.cast(first, "int32")[:, None], axis=1)[:, 0]
        is_open_still = ops.logical_and(is_open, ops.logical_not(ops.any(is_accepted, axis=1)))
        return turn + 1, is_open_still, ops.where(is_open, found, chosen)

    # one way to go is taken at once
    only = pick(neighbours, current, hashed_uniform(drawn, 0))
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
    """Raise unless this is a vector of integers.

    Args:
        nodes: tensor.
        name: what the caller calls it.

    Raises:
        TypeError: if it does not hold integers.
        ValueError: if it is not of rank 1.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.graphs.random_walks import check_nodes
    >>> check_nodes(np.array([0, 2]), "starts")
    """
    dtype = keras.backend.standardize_dtype(nodes.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise TypeError(f"`{name}` must hold the numbers of nodes, integers. Received: {dtype}")
    if len(nodes.shape) != 1:
        raise ValueError(
            f"`{name}` must have shape (batch,), one node each. Received: {tuple(nodes.shape)}"
        )
