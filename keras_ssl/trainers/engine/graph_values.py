"""Checks of the values of a graph: finite numbers, edges, unions."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_ssl._tensorflow import is_dataset, is_sparse_tensor
from keras_ssl.graphs import check_edge_list, check_finite, check_symmetric
from keras_ssl.ops.graph.inputs import read_graph


def first_graph(x: Any) -> Any:
    """Return the first batch of the data of `fit`: a graph `(x, a, ...)` of tensors or arrays.

    Returns `None` for a generator, which would lose that batch, and for distributed datasets.
    """
    if is_dataset(x):
        for element in x.take(1):
            return keras.utils.unpack_x_y_sample_weight(element)[0]
        return None
    if isinstance(x, keras.utils.PyDataset):
        return keras.utils.unpack_x_y_sample_weight(x[0])[0] if len(x) else None
    is_arrays = hasattr(x, "shape") or (isinstance(x, (tuple, list)) and len(x) >= 2)
    return x if is_arrays else None


def check_values(
    x: Any,
    needs_edges: bool = False,
    needs_symmetry: bool = False,
    takes_padding: bool = True,
    minimum_graphs: int = 1,
    normalizing: Sequence[Any] = (),
) -> None:
    """Raise an error if a method cannot learn from the values of a graph.

    Args:
        x: graph `(x, a, ...)` of eager tensors or arrays.
        needs_edges: whether there must be an edge.
        needs_symmetry: whether each edge must have its reverse, with the same weight.
        takes_padding: whether a union may have padded nodes.
        minimum_graphs: how many graphs a union must have at least.
        normalizing: layers that normalize the adjacency in the call, by roots of degrees.

    Raises:
        TypeError: if features or weights are not numbers.
        ValueError: if features or weights are NaN or infinite, an edge leads to a node that does
            not exist, `i` does not describe a union, or one of the requirements is not met.
    """
    features, a, e, i, _ = read_graph(x)
    check_finite(_numbers(features, "x"), "x")
    if e is not None:
        check_finite(_numbers(e, "e"), "e")
    if isinstance(a, dict):
        check_edge_list(a, features.shape[-2])
        weights = np.asarray(a["weights"] if "weights" in a else np.ones(len(a["senders"])))
    else:
        weights = _numbers(a, "a")
        check_finite(weights, "a")
    if needs_edges and features.shape[0] and not np.any(weights):
        raise ValueError("`a` must hold an edge: the method learns from edges. Received: no edges")
    if needs_symmetry:
        check_symmetric(_matrix(a, features.shape[-2]), "a")
    if np.any(weights < 0):
        matrix = _matrix(a, features.shape[-2])
        for layer in normalizing:
            for one in matrix if len(matrix.shape) == 3 else [matrix]:
                layer.preprocess(one)  # which raises an error for negative degrees
    if i is not None:
        _check_union(np.asarray(i), features.shape[0], takes_padding, minimum_graphs)


def _check_union(i: np.ndarray, nodes: int, takes_padding: bool, minimum_graphs: int) -> None:
    if i.shape != (nodes,):
        raise ValueError(
            f"`i`, the graph of each node, must be a vector of length {nodes}, the number of rows "
            f"of `x`. Received: shape {i.shape}"
        )
    count = int(np.sum(i >= 0))
    if np.any(i[:count] < 0) or np.any(np.diff(i[:count]) < 0):
        raise ValueError(
            "`i`, the graph of each node, must be ascending, with -1 for padding at the end only. "
            f"Received: i={i}"
        )
    missing = np.setdiff1d(np.arange(i.max(initial=-1) + 1), i)
    if missing.size:
        raise ValueError(
            "`i`, the graph of each node, must number the graphs from 0 without gaps: an empty "
            "graph, without nodes, is not possible in a union. "
            f"Received: no node of graph {missing[0]}, i={i}"
        )
    if i.max(initial=-1) + 1 < minimum_graphs:
        raise ValueError(
            f"Expected a union of at least {minimum_graphs} graphs: the method compares each graph "
            f"with the others. Received: {i.max(initial=-1) + 1}"
        )
    if count < nodes and not takes_padding:
        raise ValueError(
            "The method compares all nodes of a batch with each other, and padded nodes are not "
            "supported. Expected graphs without padding, such as those of `data.disjoint_batches` "
            f"without `static_shapes`. Received: `i` below 0 for {nodes - count} of {nodes} nodes"
        )


def _numbers(x: Any, name: str) -> np.ndarray:
    """Return the values of a tensor or array; of a sparse tensor only those that it stores."""
    if not is_sparse_tensor(x):
        return np.asarray(x)
    places, shape = np.asarray(x.indices), tuple(x.shape)
    if np.any((places < 0) | (places >= shape)):
        raise ValueError(
            f"`{name}` must hold its entries within its shape {shape}. "
            f"Received: indices from {places.min(axis=0)} to {places.max(axis=0)}"
        )
    return np.asarray(x.values)


def _matrix(a: Any, nodes: int) -> Any:
    """Return an adjacency in any form as a NumPy or SciPy array."""
    from scipy.sparse import coo_array

    if is_sparse_tensor(a):
        places = (np.asarray(a.indices[:, 0]), np.asarray(a.indices[:, 1]))
        return coo_array((np.asarray(a.values), places), shape=(nodes, nodes)).tocsr()
    if isinstance(a, dict):
        places = (np.asarray(a["receivers"]), np.asarray(a["senders"]))
        weights = np.asarray(a["weights"]) if "weights" in a else np.ones(len(places[0]))
        return coo_array((weights, places), shape=(nodes, nodes)).tocsr()
    return np.asarray(a)
