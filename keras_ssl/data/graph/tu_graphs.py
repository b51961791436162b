"""Graph collections of TU, from TU's files or those published with GIN."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_ssl.graphs import Graph, from_edge_list

# name: (GIN's file, TU's folder)
NAMES = {
    "mutag": ("MUTAG", "MUTAG"),
    "proteins": ("PROTEINS", "PROTEINS"),
    "nci1": ("NCI1", "NCI1"),
    "ptc": ("PTC", "PTC_MR"),
    "imdb_binary": ("IMDBBINARY", "IMDB-BINARY"),
}

# node tags, edges and label of a graph
_Parts = tuple[np.ndarray, dict[str, np.ndarray], int]


def find_tu(name: str, folder: Path) -> Path | None:
    """Return the path of GIN's file or TU's folder within a folder, or `None`."""
    file, directory = NAMES[name]
    if (folder / f"{file}.txt").is_file():
        return folder / f"{file}.txt"
    for path in (folder / directory, folder):
        if (path / f"{directory}_A.txt").is_file():
            return path
    return None


def read_tu(name: str, path: Path) -> list[Graph]:
    """Read a collection of graphs from the path that `find_tu` returned.

    Features are one-hot over the node tags of the collection, or over degrees if there are no tags.
    Classes are int32 from 0, in the order of the original labels. Edges go both ways, with weight
    1.
    """
    try:
        read = _read_gin_file(path) if path.is_file() else _read_tu_files(path, NAMES[name][1])
        tags, edges, labels = zip(*read, strict=True)
        sizes = [len(nodes) for nodes in tags]
        plain = [from_edge_list(_both_ways(e), nodes=n) for e, n in zip(edges, sizes, strict=True)]
    except (IndexError, ValueError) as error:
        raise ValueError(
            f"The files are not a valid collection of graphs: {error}. Received: {path}"
        ) from error
    if len(np.unique(np.concatenate(tags))) == 1:
        tags = [graph.a.count_nonzero(axis=1) for graph in plain]
    columns = np.unique(np.concatenate(tags))
    y = np.unique(labels, return_inverse=True)[1].astype(np.int32)
    return [
        Graph(nodes[:, None] == columns, graph.a.sign(), y=label)
        for nodes, graph, label in zip(tags, plain, y, strict=True)
    ]


def _read_gin_file(path: Path) -> Iterator[_Parts]:
    """Read a text file: per graph a line `nodes label`, and lines `tag degree neighbors...`."""
    lines = iter(path.read_text().splitlines())
    for _ in range(int(next(lines, ""))):
        n, label = map(int, next(lines, "").split())
        rows = [line.split() for line in itertools.islice(lines, n)]
        neighbors = [[int(j) for j in row[2 : 2 + int(row[1])]] for row in rows]
        edges = {
            "senders": np.array([j for row in neighbors for j in row], np.int64),
            "receivers": np.repeat(np.arange(n), [len(row) for row in neighbors]),
        }
        yield np.array([int(row[0]) for row in rows]), edges, label


def _read_tu_files(folder: Path, prefix: str) -> Iterator[_Parts]:
    """Read TU's tables of edges, graph indices and labels, whose indices start at 1."""

    def table(name: str) -> np.ndarray:
        return np.loadtxt(folder / f"{prefix}_{name}.txt", dtype=np.int64, delimiter=",")

    number = table("graph_indicator") - 1
    labels = table("graph_labels")
    tagged = (folder / f"{prefix}_node_labels.txt").is_file()
    tags = table("node_labels").reshape(len(number), -1)[:, 0] if tagged else np.zeros_like(number)
    edges = table("A") - 1
    starts = np.searchsorted(number, np.arange(len(labels) + 1))
    order = np.argsort(number[edges[:, 0]], kind="stable")
    edges = edges[order]
    cuts = np.searchsorted(number[edges[:, 0]], np.arange(len(labels) + 1))
    for graph, label in enumerate(labels):
        first, last = starts[graph : graph + 2]
        own = edges[cuts[graph] : cuts[graph + 1]] - first
        yield tags[first:last], {"senders": own[:, 0], "receivers": own[:, 1]}, label


def _both_ways(edges: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    senders, receivers = edges["senders"], edges["receivers"]
    return {
        "senders": np.concatenate([senders, receivers]),
        "receivers": np.concatenate([receivers, senders]),
    }
