"""Weisfeiler-Lehman colour refinement: which nodes, and which graphs, look alike from within."""

import hashlib
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_ssl.graphs.conversion import as_graph


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


# told apart before they are hashed: a label, the node's own colour, a sender's, a receiver's
_LABEL, _OWN, _SENDER, _RECEIVER = (
    np.uint64(_digest(role)) for role in ("label", "own", "sender", "receiver")
)


def weisfeiler_lehman(graph: Any, iterations: int | None = None, labels: Any = None) -> np.ndarray:
    """Colour the nodes of a graph by what they see around them, one step further each iteration.

    A node starts with the colour of its label, all with one colour if there are no labels. An
    iteration gives two nodes one colour if they had one before and the colours of their neighbours
    were the same, counted:

        c_0(v) = label(v),    c_t(v) = hash(c_{t-1}(v), {{c_{t-1}(u) : u neighbour of v}})

    A node knows neighbours that it receives from and neighbours that it sends to apart. The weights
    of edges do not matter, self-loops count.

    Colours are 64-bit hashes, so that those of different graphs, calls and machines can be
    compared: nodes of one surrounding always have one colour; nodes of different surroundings have
    different ones but for a chance of 2^-64 a pair. No colour depends on the order of nodes.

    Args:
        graph: `keras_ssl.graphs.Graph`, or what `keras_ssl.graphs.as_graph` makes one of: a
            networkx graph, an adjacency of scipy.sparse or an array `(n, n)`.
        iterations: how often to refine. `None`: until colours divide the nodes as they did before,
            after at most n - 1 iterations.
        labels: the colours at the start, integers or strings `(n,)`. `None`: all alike.

    Returns:
        uint64 array `(iterations + 1, n)`: the colours at the start and after each iteration.

    Raises:
        TypeError: if `graph` is no graph, or labels are neither integers nor strings.
        ValueError: if the adjacency is not square, `iterations` is negative, or there is
            not one label a node.

    Example:

    The ends of a path are alike, and so are its inner nodes:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> ends, inner, inner_too, ends_too = graphs.weisfeiler_lehman(nx.path_graph(4))[-1]
    >>> ends == ends_too, inner == inner_too, ends == inner
    (np.True_, np.True_, np.False_)

    Reference:
        - Weisfeiler & Lehman, 1968
        - [Shervashidze et al., Weisfeiler-Lehman Graph Kernels](
          https://jmlr.org/papers/v12/shervashidze11a.html), 2011
    """
    check_iterations(iterations)
    a = as_graph(graph).a
    refine = _refinement(a)
    colours = [_start(labels, a.shape[0])]
    while iterations is None or len(colours) <= iterations:
        colours.append(refine(colours[-1]))
        if iterations is None and _count(colours[-1]) == _count(colours[-2]):
            return np.stack(colours[:-1])
    return np.stack(colours)


def is_possibly_isomorphic(
    first: Any, second: Any, first_labels: Any = None, second_labels: Any = None
) -> bool:
    """Whether colour refinement cannot tell two graphs apart.

    `False` is certain: the graphs are not isomorphic. `True` is not: some graphs that differ get
    the same colours, all regular graphs of one degree and size among them.

    Args:
        first: graph of any kind that `keras_ssl.graphs.as_graph` knows. Weights do not matter.
        second: the same.
        first_labels: integers or strings `(n,)` that an isomorphism must keep, or `None`.
        second_labels: the same of the second graph.

    Returns:
        `True` if every stable colour stands in both graphs equally often.

    Raises:
        TypeError: if one is no graph, or labels are neither integers nor strings.
        ValueError: if an adjacency is not square, or only one has labels.

    Example:

    A cycle of six and two triangles are the smallest graphs that look alike everywhere:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> triangles = nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))
    >>> graphs.is_possibly_isomorphic(nx.cycle_graph(6), triangles)
    True
    >>> graphs.is_possibly_isomorphic(nx.cycle_graph(6), nx.path_graph(6))
    False

    Reference:
        - Weisfeiler & Lehman, 1968
    """
    import scipy.sparse

    if (first_labels is None) != (second_labels is None):
        raise ValueError(
            "`first_labels` and `second_labels` must be given together. "
            f"Received: first_labels={first_labels}, second_labels={second_labels}"
        )
    a, b = as_graph(first).a, as_graph(second).a
    starts = _start(first_labels, a.shape[0]), _start(second_labels, b.shape[0])
    if a.shape != b.shape or a.nnz != b.nnz:
        return False
    # both in one graph, since one of them may need more iterations than the other
    together = scipy.sparse.block_diag([a, b], format="csr")
    colours = weisfeiler_lehman(together, labels=np.concatenate(starts).view("int64"))[-1]
    return np.array_equal(*np.sort(colours.reshape(2, -1), axis=1))


def check_iterations(iterations: int | None) -> None:
    """Raise unless this is a number of iterations, or `None`.

    Args:
        iterations: how often to refine.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is negative.

    Example:

    >>> from keras_ssl.graphs.weisfeiler_lehman import check_iterations
    >>> check_iterations(3)
    """
    if iterations is None:
        return
    if isinstance(iterations, bool) or not isinstance(iterations, numbers.Integral):
        raise TypeError(f"`iterations` must be an integer or None. Received: {iterations!r}")
    if iterations < 0:
        raise ValueError(f"`iterations` must be at least 0. Received: {iterations}")


def _refinement(a: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The function that takes the colours of all nodes one iteration further."""
    import scipy.sparse

    receives = scipy.sparse.csr_array((np.ones(a.nnz, "uint64"), a.indices, a.indptr), a.shape)
    sends = receives.T.tocsr()

    # the sum of hashes is a hash of the colours, counted and without an order
    def refine(colours: np.ndarray) -> np.ndarray:
        seen = receives @ _hash(colours ^ _SENDER) + sends @ _hash(colours ^ _RECEIVER)
        return _hash(_hash(colours ^ _OWN) + seen)

    return refine


def _start(labels: Any, nodes: int) -> np.ndarray:
    """The colours of labels."""
    labels = np.zeros(nodes, "int64") if labels is None else np.asarray(labels)
    if labels.dtype.kind not in "biuU":
        raise TypeError(f"`labels` must be integers or strings. Received: dtype {labels.dtype}")
    if labels.shape != (nodes,):
        raise ValueError(
            f"`labels` must hold one label for each of the {nodes} nodes. "
            f"Received: shape {labels.shape}"
        )
    if labels.dtype.kind == "U":
        different, place = np.unique(labels, return_inverse=True)
        return np.array([_digest(label) for label in different], "uint64")[place]
    return _hash(labels.astype("int64").view("uint64") ^ _LABEL)


def _hash(x: np.ndarray) -> np.ndarray:
    """The bits of 64-bit numbers, mixed: SplitMix64 (Steele et al., 2014). No two become one."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _count(colours: np.ndarray) -> int:
    return len(np.unique(colours))
