"""Weisfeiler-Lehman colour refinement and subtree features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks
from keras_ssl.graphs.conversion import as_graph

if TYPE_CHECKING:
    import scipy.sparse


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
    checks.integer("iterations", iterations, minimum=0, optional=True)
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


class SubtreeFeatures:
    """Describe graphs by how often each Weisfeiler-Lehman colour stands in them.

    A colour after t iterations stands for a node's surroundings up to t edges away, unrolled into a
    tree. With counts φ(G) of the colours of iterations 0 to h, the inner product φ(G)·φ(G') is the
    Weisfeiler-Lehman subtree kernel of two graphs:

        k(G, G') = Σ over t of Σ over colours c of count_t(c, G) count_t(c, G')

    `fit` finds the colours of the training graphs, `transform` counts those in any graphs; colours
    that were not in training are left out. Works in scikit-learn's pipelines.

    Args:
        iterations: h, at least 0. With 0, features are counts of labels.

    Raises:
        TypeError: if `iterations` is not an integer, or something in the list is no graph.
        ValueError: if `iterations` is negative, there are no graphs, or one is not valid.

    Example:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> features = graphs.SubtreeFeatures(iterations=1)
    >>> features.fit([nx.path_graph(3), nx.path_graph(4)]) is features
    True
    >>> counts = features.transform([nx.path_graph(5)])  # nodes, those inside, the ends
    >>> sorted(counts.toarray()[0].tolist())
    [2, 3, 5]

    Reference:
        - [Shervashidze et al., Weisfeiler-Lehman Graph Kernels](
          https://jmlr.org/papers/v12/shervashidze11a.html), 2011
    """

    def __init__(self, iterations: int = 3) -> None:
        checks.integer("iterations", iterations, minimum=0, optional=True)
        self.iterations = iterations

    def fit(self, graphs: Sequence[Any], y: Any = None) -> SubtreeFeatures:
        """Find the colours of graphs.

        Args:
            graphs: list of graphs, of any kind that `keras_ssl.graphs.as_graph` knows, or of
                pairs `(graph, labels)`, with an integer or a string for each node.
            y: not used; for scikit-learn.

        Returns:
            This object.
        """
        self._fit(_colours_of(graphs, self.iterations))
        return self

    def transform(self, graphs: Sequence[Any]) -> scipy.sparse.csr_array:
        """Count the colours in graphs.

        Args:
            graphs: as in `fit`.

        Returns:
            int64 `scipy.sparse.csr_array` of shape `(graphs, colours)`.

        Raises:
            ValueError: before `fit`.
        """
        if not hasattr(self, "vocabulary_"):
            raise ValueError(
                "`fit` must be called before `transform`. Received: no training graphs"
            )
        return self._count(_colours_of(graphs, self.iterations))

    def fit_transform(self, graphs: Sequence[Any], y: Any = None) -> scipy.sparse.csr_array:
        """Find the colours of graphs and count them: `fit(graphs).transform(graphs)`.

        Args:
            graphs: as in `fit`.
            y: not used; for scikit-learn.

        Returns:
            As `transform`.
        """
        colours = _colours_of(graphs, self.iterations)
        self._fit(colours)
        return self._count(colours)

    def _fit(self, colours: list[np.ndarray]) -> None:
        self.vocabulary_ = np.unique(np.concatenate(colours))

    def _count(self, colours: list[np.ndarray]) -> scipy.sparse.csr_array:
        import scipy.sparse

        # scikit-learn's classifiers take indices of 32 bits alone
        row = np.repeat(np.arange(len(colours), dtype="int32"), [len(one) for one in colours])
        colour = np.concatenate(colours)
        column = np.searchsorted(self.vocabulary_, colour).astype("int32")
        column = column.clip(max=len(self.vocabulary_) - 1)
        known = self.vocabulary_[column] == colour
        ones = np.ones(np.count_nonzero(known), "int64")
        shape = len(colours), len(self.vocabulary_)
        # equal places are added up
        return scipy.sparse.coo_array((ones, (row[known], column[known])), shape).tocsr()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments, as scikit-learn asks for them.

        Args:
            deep: not used; for scikit-learn.
        """
        return {"iterations": self.iterations}

    def set_params(self, **parameters: Any) -> SubtreeFeatures:
        """Set arguments of the constructor, as scikit-learn's searches do.

        Args:
            **parameters: `iterations`.
        """
        self.__init__(**{**self.get_params(), **parameters})
        return self


def _colours_of(graphs: Sequence[Any], iterations: int) -> list[np.ndarray]:
    """The colours of all iterations of each graph."""
    if hasattr(graphs, "shape") or hasattr(graphs, "is_directed"):
        raise TypeError(f"`graphs` must be a list of graphs. Received: {type(graphs).__name__}")
    graphs = list(graphs)
    if not graphs:
        raise ValueError("`graphs` must hold at least one graph. Received: an empty list")
    pairs = [one if isinstance(one, tuple) else (one, None) for one in graphs]
    return [weisfeiler_lehman(graph, iterations, labels).ravel() for graph, labels in pairs]
