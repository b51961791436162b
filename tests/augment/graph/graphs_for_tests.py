"""Graphs in all forms and modes, and conversion of any form to arrays."""

import keras
import numpy as np

from keras_ssl import graphs
from tests.layers.graph.conformance import forms, tensors

to_numpy = keras.ops.convert_to_numpy
SIZES = (5, 3, 4)


def ring_of(nodes):
    """A ring in which every edge has a different weight."""
    a = np.zeros((nodes, nodes), "float32")
    for node in range(nodes):
        a[node, node - 1] = a[node - 1, node] = 1 + node
    return a


def single(form="dense", is_sparse=False, nodes=9):
    """An undirected graph with positive features."""
    rng = np.random.default_rng(1)
    a = np.maximum(ring_of(nodes), 2 * np.tril(rng.uniform(size=(nodes, nodes)) < 0.3, -1))
    a = np.maximum(a, a.T).astype("float32")
    x = rng.uniform(1, 2, (nodes, 6)).astype("float32")
    if is_sparse:
        x = graphs.sparse_tensor(x * (rng.uniform(size=x.shape) < 0.6))
    return tuple(tensors([x, forms(a)[form]]))


def disjoint(form="list"):
    """A union of rings, followed by two padded nodes."""
    i = np.repeat([0, 1, 2, -1], (*SIZES, 2)).astype("int32")
    a = np.zeros((len(i), len(i)), "float32")
    for graph, size in enumerate(SIZES):
        start = sum(SIZES[:graph])
        a[start : start + size, start : start + size] = ring_of(size)
    x = np.random.default_rng(1).uniform(1, 2, (len(i), 6)).astype("float32")
    x[i < 0] = 0
    return tuple(tensors([x, forms(a)[form], i]))


def batch():
    """The same rings as a padded batch."""
    a = np.zeros((3, 6, 6), "float32")
    mask = np.arange(6) < np.array(SIZES)[:, None]
    for graph, size in enumerate(SIZES):
        a[graph, :size, :size] = ring_of(size)
    x = np.random.default_rng(1).uniform(1, 2, (3, 6, 6)).astype("float32")
    return tuple(tensors([x * mask[..., None], a, mask]))


def mixed():
    """Four sets of features on one graph."""
    x, a = single(nodes=6)
    x = np.random.default_rng(2).uniform(1, 2, (4, 6, 6)).astype("float32")
    return tuple(tensors([x, a]))


MODES = {
    "single": single,
    "single, sparse": lambda: single("sparse"),
    "single, list": lambda: single("list"),
    "single, sparse features": lambda: single("sparse", is_sparse=True),
    "disjoint": disjoint,
    "disjoint, sparse": lambda: disjoint("sparse"),
    "batch": batch,
    "mixed": mixed,
}


def dense(part, nodes=None):
    """Convert a part of a graph to an array."""
    if isinstance(part, dict):
        out = np.zeros((nodes, nodes), "float32")
        places = to_numpy(part["receivers"]), to_numpy(part["senders"])
        np.add.at(out, places, to_numpy(part["weights"]))
        return out
    return to_numpy(keras.ops.convert_to_tensor(part, sparse=False))


def arrays(graph):
    """Convert all parts of a graph to dense arrays."""
    return [dense(part, graph[0].shape[-2]) for part in graph]
