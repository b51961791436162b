"""Outputs of PyTorch Geometric's layers, stored by tests/reference/make_graph_layers_pyg.py.

    case = peers.case("gat/concat")
    layer([case.graph.x, case.graph.a])        # dense; case.graph.sparse, case.graph.edges
    layer.set_weights([case.weights["kernel"], ...])
    case.output, case.more["attention"]

That script describes how PyTorch Geometric treats self-loops and weights.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

STORED = Path(__file__).parents[2] / "reference" / "graph_layers_pyg.npz"


class PeerGraph(NamedTuple):
    """A graph in our forms; edges are sorted by receiver, then by sender."""

    x: np.ndarray  # (n, f)
    edges: dict[str, np.ndarray]  # senders, receivers, weights
    e: np.ndarray | None  # (E, f_e)
    distances: np.ndarray | None  # (E,)
    i: np.ndarray | None  # (n,), index of each node's graph

    @property
    def a(self) -> np.ndarray:
        """(n, n), `a[receiver, sender]`."""
        return self.dense(self.edges["weights"])

    @property
    def sparse(self):
        """The same as scipy.sparse."""
        from scipy.sparse import coo_matrix

        senders, receivers, weights = (self.edges[k] for k in ("senders", "receivers", "weights"))
        return coo_matrix((weights, (receivers, senders)), shape=2 * (len(self.x),)).tocsr()

    def dense(self, values: np.ndarray) -> np.ndarray:
        """Values of edges, (E,) or (E, f_e), as (n, n) or (n, n, f_e)."""
        n = len(self.x)
        dense = np.zeros((n, n, *values.shape[1:]), values.dtype)
        dense[self.edges["receivers"], self.edges["senders"]] = values
        return dense

    def unweighted(self) -> "PeerGraph":
        """The graph with weights 1, as most layers of PyTorch Geometric use it."""
        return self._replace(edges=self.edges | {"weights": np.ones_like(self.edges["weights"])})


class Case(NamedTuple):
    """A layer of PyTorch Geometric on a graph."""

    graph: PeerGraph
    weights: dict[str, np.ndarray]
    output: np.ndarray
    gradients: dict[str, np.ndarray]  # of sum(output * more["probe"]); or {}
    more: dict[str, np.ndarray]


@functools.cache
def _stored() -> dict[str, np.ndarray]:
    with np.load(STORED) as arrays:
        return dict(arrays)


def _under(prefix: str) -> dict[str, np.ndarray]:
    return {
        key.removeprefix(prefix): value
        for key, value in _stored().items()
        if key.startswith(prefix)
    }


def graph(name: str) -> PeerGraph:
    """directed, self_loops, undirected, edge_features, three_neighbors or union."""
    parts = _under(f"graph/{name}/")
    edges = {key: parts[key] for key in ("senders", "receivers", "weights")}
    return PeerGraph(parts["x"], edges, *(parts.get(key) for key in ("e", "distances", "i")))


def case(name: str) -> Case:
    """The case with one of `names()`."""
    parts = _under(f"{name}/")
    return Case(
        graph(str(parts.pop("graph"))),
        _under(f"{name}/weight/"),
        parts.pop("output"),
        _under(f"{name}/gradient/"),
        {key: value for key, value in parts.items() if "/" not in key},
    )


def names() -> list[str]:
    """Every stored case."""
    return [key.removesuffix("/output") for key in _stored() if key.endswith("/output")]
