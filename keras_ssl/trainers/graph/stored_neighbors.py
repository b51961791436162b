"""The neighbours of all nodes as weights of a layer, so that files hold the graph."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_ssl.graphs import Neighbors

_SIZES = {"nodes", "edges", "largest_degree", "is_weighted"}


class StoredNeighbors(keras.layers.Layer):
    """Holds a graph's neighbours as weights that do not learn.

    A configuration is no place for arrays: it holds sizes, and the weights the rest. Made from
    sizes, the layer has no edges until weights are loaded.

    Args:
        neighbors: `keras_ssl.graphs.Neighbors` of arrays, or the sizes of some.
        **kwargs: those of `keras.layers.Layer`.

    Example:

    >>> import networkx as nx
    >>> from keras_ssl import graphs
    >>> from keras_ssl.trainers.graph.stored_neighbors import StoredNeighbors
    >>> stored = StoredNeighbors(graphs.neighbors_of(nx.path_graph(3)))
    >>> stored.sizes
    {'nodes': 3, 'edges': 4, 'largest_degree': 2, 'is_weighted': False}
    >>> stored.neighbors.nodes.numpy()
    array([1, 0, 2, 1], dtype=int32)
    """

    def __init__(self, neighbors: Neighbors | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        is_known = isinstance(neighbors, Neighbors)
        self.sizes = sizes_of(neighbors) if is_known else {**neighbors}
        nodes, edges = self.sizes["nodes"], self.sizes["edges"]
        self._offsets = self._add("offsets", nodes + 1, "int32")
        self._nodes = self._add("nodes", edges, "int32")
        self._shares = self._add("shares", edges, "float32") if self.sizes["is_weighted"] else None
        self.built = True
        if is_known:
            for weight, values in zip(self._stored(), neighbors, strict=True):
                if weight is not None:
                    weight.assign(values)

    def _add(self, name: str, size: int, dtype: str) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(size,),
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
            # it never changes
            aggregation="only_first_replica",
        )

    def _stored(self) -> tuple:
        return self._offsets, self._nodes, self._shares, None

    @property
    def neighbors(self) -> Neighbors:
        """The neighbors, as tensors."""
        offsets, nodes, shares, _ = (None if one is None else one.value for one in self._stored())
        return Neighbors(offsets, nodes, shares, self.sizes["largest_degree"])

    @property
    def is_loaded(self) -> bool:
        """Whether the weights hold the edges."""
        return int(np.asarray(self._offsets)[-1]) == self.sizes["edges"]

    def get_config(self) -> dict:
        """Return the sizes."""
        return {**super().get_config(), "neighbors": self.sizes}


def sizes_of(neighbors: Neighbors) -> dict[str, Any]:
    """What tells the shapes of a graph's arrays.

    Args:
        neighbors: arrays.

    Returns:
        Dictionary of integers and a boolean.
    """
    return {
        "nodes": len(neighbors.offsets) - 1,
        "edges": len(neighbors.nodes),
        "largest_degree": neighbors.largest_degree,
        "is_weighted": neighbors.shares is not None,
    }


def is_sizes(graph: Any) -> bool:
    """Whether this is what `sizes_of` returns, out of a configuration.

    Args:
        graph: what a constructor got.

    Returns:
        `True` if it is a dictionary with these keys.
    """
    return isinstance(graph, Mapping) and set(graph) == _SIZES
