"""Weisfeiler-Lehman color refinement and subtree features."""

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


# separate hash domains for labels, a node's own color, and those of its senders and receivers
_LABEL, _OWN, _SENDER, _RECEIVER = (
    np.uint64(_digest(role)) for role in ("label", "own", "sender", "receiver")
)


def weisfeiler_lehman(graph: Any, iterations: int | None = None, labels: Any = None) -> np.ndarray:
    """Compute Weisfeiler-Lehman colors of the nodes of a graph.

    The initial color of a node is its label, or the same for all nodes. In each iteration two nodes
    get the same color if they had the same color, and so had their neighbors, with multiplicity:

        c_0(v) = label(v),    c_t(v) = hash(c_{t-1}(v), {{c_{t-1}(u) : u neighbor of v}})

    Senders and receivers are distinguished. Edge weights are ignored, self-loops are not.

    Colors are 64-bit hashes that can be compared between graphs, calls and machines. Equal
    neighborhoods always have equal colors; different ones collide with a probability of 2^-64.
    Colors do not depend on the order of nodes.

    Args:
        graph: graph of any kind that `keras_ssl.graphs.as_graph` takes.
        iterations: number of iterations, or `None` to iterate until the partition of the nodes is
            stable, which takes at most n - 1 iterations.
        labels: initial colors, integers or strings `(n,)`, or `None`.

    Returns:
        uint64 array `(iterations + 1, n)`: the initial colors and those after each iteration.

    Raises:
        TypeError: if `graph` is not a graph, or labels are neither integers nor strings.
        ValueError: if the adjacency is not square, `iterations` is negative, or there is not one
            label per node.

    Example:

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
    colors = [_start(labels, a.shape[0])]
    while iterations is None or len(colors) <= iterations:
        colors.append(refine(colors[-1]))
        if iterations is None and _count(colors[-1]) == _count(colors[-2]):
            return np.stack(colors[:-1])
    return np.stack(colors)


def is_possibly_isomorphic(
    first: Any, second: Any, first_labels: Any = None, second_labels: Any = None
) -> bool:
    """Whether two graphs have the same Weisfeiler-Lehman colors.

    If not, the graphs are not isomorphic. If so, they may still differ: all regular graphs of the
    same degree and size have the same colors.

    Args:
        first: graph of any kind that `keras_ssl.graphs.as_graph` takes. Weights are ignored.
        second: the other graph.
        first_labels: integers or strings `(n,)` that an isomorphism must preserve, or `None`.
        second_labels: labels of the second graph.

    Returns:
        `True` if every stable color occurs equally often in both graphs.

    Raises:
        TypeError: if an argument is not a graph, or labels are neither integers nor strings.
        ValueError: if an adjacency is not square, or only one graph has labels.

    Example:

    Color refinement does not distinguish a cycle of six from two triangles:

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
    # refine both together, since one graph may need more iterations than the other
    together = scipy.sparse.block_diag([a, b], format="csr")
    colors = weisfeiler_lehman(together, labels=np.concatenate(starts).view("int64"))[-1]
    return np.array_equal(*np.sort(colors.reshape(2, -1), axis=1))


def _refinement(a: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that performs one iteration on the colors of all nodes."""
    import scipy.sparse

    receives = scipy.sparse.csr_array((np.ones(a.nnz, "uint64"), a.indices, a.indptr), a.shape)
    sends = receives.T.tocsr()

    # the sum of hashes is a hash of the multiset of colors
    def refine(colors: np.ndarray) -> np.ndarray:
        seen = receives @ _hash(colors ^ _SENDER) + sends @ _hash(colors ^ _RECEIVER)
        return _hash(_hash(colors ^ _OWN) + seen)

    return refine


def _start(labels: Any, nodes: int) -> np.ndarray:
    """Return the initial colors."""
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
    """Mix the bits of 64-bit integers, bijectively: SplitMix64 (Steele et al., 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _count(colors: np.ndarray) -> int:
    return len(np.unique(colors))


class SubtreeFeatures:
    """Graph features: the counts of Weisfeiler-Lehman colors.

    A color after t iterations represents a node's neighborhood up to t edges away, unrolled into a
    tree. For counts φ(G) of the colors of iterations 0 to h, the inner product φ(G)·φ(G') is the
    Weisfeiler-Lehman subtree kernel of two graphs:

        k(G, G') = Σ over t of Σ over colors c of count_t(c, G) count_t(c, G')

    `fit` collects the colors of the training graphs, and `transform` counts them in any graphs;
    other colors are ignored. Works in scikit-learn pipelines.

    Args:
        iterations: h, at least 0. With 0, features are counts of labels.

    Raises:
        TypeError: if `iterations` is not an integer, or an item of the list is not a graph.
        ValueError: if `iterations` is negative, there are no graphs, or one is not valid.

    Example:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> features = graphs.SubtreeFeatures(iterations=1)
    >>> features.fit([nx.path_graph(3), nx.path_graph(4)]) is features
    True
    >>> counts = features.transform([nx.path_graph(5)])  # all nodes, inner nodes, ends
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
        """Collect the colors of graphs.

        Args:
            graphs: list of graphs of any kind that `keras_ssl.graphs.as_graph` takes, or of
                pairs `(graph, labels)`, with an integer or a string for each node.
            y: ignored; for scikit-learn.

        Returns:
            The object itself.
        """
        self._fit(_colors_of(graphs, self.iterations))
        return self

    def transform(self, graphs: Sequence[Any]) -> scipy.sparse.csr_array:
        """Count the colors of graphs.

        Args:
            graphs: as in `fit`.

        Returns:
            int64 `scipy.sparse.csr_array` of shape `(graphs, colors)`.

        Raises:
            ValueError: before `fit`.
        """
        if not hasattr(self, "vocabulary_"):
            raise ValueError(
                "`fit` must be called before `transform`. Received: no training graphs"
            )
        return self._count(_colors_of(graphs, self.iterations))

    def fit_transform(self, graphs: Sequence[Any], y: Any = None) -> scipy.sparse.csr_array:
        """Return `fit(graphs).transform(graphs)`, computing colors once."""
        colors = _colors_of(graphs, self.iterations)
        self._fit(colors)
        return self._count(colors)

    def _fit(self, colors: list[np.ndarray]) -> None:
        self.vocabulary_ = np.unique(np.concatenate(colors))

    def _count(self, colors: list[np.ndarray]) -> scipy.sparse.csr_array:
        import scipy.sparse

        # scikit-learn's classifiers need 32-bit indices
        row = np.repeat(np.arange(len(colors), dtype="int32"), [len(one) for one in colors])
        color = np.concatenate(colors)
        column = np.searchsorted(self.vocabulary_, color).astype("int32")
        column = column.clip(max=len(self.vocabulary_) - 1)
        known = self.vocabulary_[column] == color
        ones = np.ones(np.count_nonzero(known), "int64")
        shape = len(colors), len(self.vocabulary_)
        # duplicate entries are summed
        return scipy.sparse.coo_array((ones, (row[known], column[known])), shape).tocsr()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments, for scikit-learn."""
        return {"iterations": self.iterations}

    def set_params(self, **parameters: Any) -> SubtreeFeatures:
        """Set arguments of the constructor, for scikit-learn."""
        self.__init__(**{**self.get_params(), **parameters})
        return self


def _colors_of(graphs: Sequence[Any], iterations: int) -> list[np.ndarray]:
    """Return the colors of all iterations of each graph."""
    if hasattr(graphs, "shape") or hasattr(graphs, "is_directed"):
        raise TypeError(f"`graphs` must be a list of graphs. Received: {type(graphs).__name__}")
    graphs = list(graphs)
    if not graphs:
        raise ValueError("`graphs` must hold at least one graph. Received: an empty list")
    pairs = [one if isinstance(one, tuple) else (one, None) for one in graphs]
    return [weisfeiler_lehman(graph, iterations, labels).ravel() for graph, labels in pairs]
