"""Cora, CiteSeer and PubMed from the files of Planetoid, with its public split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_ssl.data.inert_pickle import read_inert
from keras_ssl.graphs import Graph, from_edge_list

NAMES = ("cora", "citeseer", "pubmed")

_PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")
_VALIDATION_NODES = 500


def files_of(name: str, folder: Path) -> list[Path]:
    """The files that hold a set.

    Args:
        name: one of `NAMES`.
        folder: where they lie.

    Returns:
        Their paths, whether they exist or not.
    """
    return [folder / f"ind.{name}.{part}" for part in _PARTS]


def read_planetoid(name: str, folder: Path) -> Graph:
    """Read a citation graph from the eight files `ind.<name>.*`.

    Edges go both ways and have weight 1; self-loops and repeated citations are dropped. CiteSeer
    has 15 nodes that are cited, but that no file describes: their features are zeros, their label
    is 0, and they are in no split.

    Args:
        name: one of `NAMES`.
        folder: where the files lie.

    Returns:
        `Graph` with sparse `x`, `y` as int32 class numbers and `splits` "train", "val", "test".

    Raises:
        ValueError: if a file is not what it should be.
    """
    *pickles, index_file = files_of(name, folder)
    parts = dict(zip(_PARTS, map(read_inert, pickles), strict=False))
    test = np.loadtxt(index_file, dtype=np.int64)
    known = parts["allx"].shape[0]
    n = max(known, int(test.max()) + 1)
    # the row of the test files that belongs to each place, as the index says
    places = np.concatenate([np.arange(known), test])
    splits = {name: np.zeros(n, bool) for name in ("train", "val", "test")}
    train = parts["x"].shape[0]
    splits["train"][:train] = True
    splits["val"][train : train + _VALIDATION_NODES] = True
    splits["test"][test] = True
    y = np.zeros(n, np.int32)
    y[places] = np.concatenate([parts["ally"], parts["ty"]]).argmax(axis=1)
    graph = from_edge_list(_citations(parts["graph"]), n, _placed(parts, places, n), y=y)
    return Graph(graph.x, graph.a.sign(), y=graph.y, splits=splits)


def _placed(parts: dict[str, Any], places: np.ndarray, n: int) -> Any:
    """Features of all nodes, each in its row."""
    import scipy.sparse

    rows = scipy.sparse.vstack([parts["allx"], parts["tx"]]).tocoo()
    return scipy.sparse.coo_array((rows.data, (places[rows.row], rows.col)), (n, rows.shape[1]))


def _citations(neighbors: dict[int, list[int]]) -> dict[str, np.ndarray]:
    """Edges in both directions, without self-loops."""
    counts = [len(nodes) for nodes in neighbors.values()]
    senders = np.repeat(np.fromiter(neighbors, np.int64, len(neighbors)), counts)
    receivers = np.concatenate([np.asarray(nodes, np.int64) for nodes in neighbors.values()])
    keep = senders != receivers
    senders, receivers = senders[keep], receivers[keep]
    return {
        "senders": np.concatenate([senders, receivers]),
        "receivers": np.concatenate([receivers, senders]),
    }
