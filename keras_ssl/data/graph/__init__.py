"""Graphs by name and as batches."""

from keras_ssl.data.graph.graph_batches import disjoint_batches, padded_batches
from keras_ssl.data.graph.graph_sets import load_graph
from keras_ssl.data.graph.neighbor_batches import neighbor_batches
from keras_ssl.data.graph.single_graph import single_graph
from keras_ssl.data.graph.spektral_loaders import from_spektral_loader

__all__ = [
    "disjoint_batches",
    "from_spektral_loader",
    "load_graph",
    "neighbor_batches",
    "padded_batches",
    "single_graph",
]
