"""Weisfeiler-Lehman subtree features: how often each colour stands in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl.graphs.weisfeiler_lehman import check_iterations, weisfeiler_lehman

if TYPE_CHECKING:
    import scipy.sparse


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
        check_iterations(iterations)
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
