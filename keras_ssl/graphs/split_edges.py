"""Hide edges of a graph, to see whether they can be predicted."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_ssl.graphs.checks import check_symmetric
from keras_ssl.graphs.conversion import as_graph
from keras_ssl.graphs.negative_edges import negative_edges

if TYPE_CHECKING:
    import scipy.sparse


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
    for name, share in {"validation": validation, "test": test}.items():
        if isinstance(share, bool) or not isinstance(share, numbers.Real):
            raise TypeError(f"`{name}` must be a share of the edges. Received: {share!r}")
        if not 0 <= share < 1:
            raise ValueError(f"`{name}` must be from 0 to below 1. Received: {name}={share}")
    if validation + test >= 1:
        raise ValueError(
            "`validation` and `test` must leave edges to train on. "
            f"Received: validation={validation}, test={test}"
        )
