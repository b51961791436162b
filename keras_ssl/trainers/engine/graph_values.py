"""Checks of the numbers in a graph, where its shapes alone tell nothing."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ssl.graphs import check_edge_list, check_finite, check_symmetric
from keras_ssl.ops.graph.inputs import read_graph


def first_graph(x: Any) -> Any:
    """Return what data begins with: the first batch, or arrays as they are.

    Args:
        x: what `fit` got.

    Returns:
        A graph `(x, a, ...)` of eager tensors or arrays; `None` of a generator, which would lose
        what is looked at, and of data that is already shared out among replicas.
    """
    if isinstance(x, tf.data.Dataset):
        for element in x.take(1):
            return keras.utils.unpack_x_y_sample_weight(element)[0]
        return None
    if isinstance(x, keras.utils.PyDataset):
        return keras.utils.unpack_x_y_sample_weight(x[0])[0] if len(x) else None
    is_arrays = hasattr(x, "shape") or (isinstance(x, (tuple, list)) and len(x) >= 2)
    return x if is_arrays else None


def validation_inputs(data: Any) -> Any:
    """Return the inputs of what `fit` got as `validation_data`.

    Args:
        data: data set, or arrays as a tuple `(x, y)` or `(x,)`.

    Returns:
        The data set, or `x`.
    """
    if isinstance(data, (tuple, list)):
        return keras.utils.unpack_x_y_sample_weight(tuple(data))[0]
    return data


def check_values(
    x: Any,
    needs_edges: bool = False,
    needs_symmetry: bool = False,
    takes_padding: bool = True,
    minimum_graphs: int = 1,
) -> None:
    """Raise unless the numbers of a graph can be learned from.

    Args:
        x: graph `(x, a, ...)` of eager tensors or arrays.
        needs_edges: whether there must be an edge.
        needs_symmetry: whether each edge must have its reverse, of the same weight.
        takes_padding: whether nodes of a union may be padding.
        minimum_graphs: how many graphs a union must hold.

    Raises:
        TypeError: if features or weights are no numbers.
        ValueError: if features or weights are NaN or infinite, an edge leads to a node that is not
            there, the numbers of the nodes' graphs are not those of a union, or what is needed is
            missing.
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
        raise ValueError("`a` must hold an edge: the method learns from edges. Received: none")
    if needs_symmetry:
        check_symmetric(_matrix(a, features.shape[-2]), "a")

    if i is not None:
        _check_union(np.asarray(i), features.shape[0], takes_padding, minimum_graphs)


def _check_union(i: np.ndarray, nodes: int, takes_padding: bool, minimum_graphs: int) -> None:
    if i.shape != (nodes,):
        raise ValueError(
            f"`i`, the graph of each node, must be a vector of length {nodes}, as there are rows "
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
            "`i`, the graph of each node, must name every graph from 0 on: an empty graph, without "
            f"nodes, has no place in a union. Received: no node of graph {missing[0]}, "
            f"i={i}"
        )
    if i.max(initial=-1) + 1 < minimum_graphs:
        raise ValueError(
            f"Expected a union of at least {minimum_graphs} graphs: the method compares each with "
            f"the others. Received: {i.max(initial=-1) + 1}"
        )
    if count < nodes and not takes_padding:
        raise ValueError(
            "The method compares all nodes of a batch with each other, and padding is no node. "
            "Expected graphs without padding, as `data.disjoint_batches` makes them without "
            f"`static_shapes`. Received: `i` below 0 for {nodes - count} of {nodes} nodes"
        )


def _numbers(x: Any, name: str) -> np.ndarray:
    """The numbers of a tensor or array; of a sparse tensor those that it stores."""
    if not isinstance(x, tf.SparseTensor):
        return np.asarray(x)
    places, shape = np.asarray(x.indices), tuple(x.shape)
    if np.any((places < 0) | (places >= shape)):
        raise ValueError(
            f"`{name}` must hold its entries within its shape {shape}. Received: indices from "
            f"{places.min(axis=0)} to {places.max(axis=0)}"
        )
    return np.asarray(x.values)


def _matrix(a: Any, nodes: int) -> Any:
    """An adjacency of any form as NumPy array or scipy.sparse."""
    from scipy.sparse import coo_array

    if isinstance(a, tf.SparseTensor):
        places = (np.asarray(a.indices[:, 0]), np.asarray(a.indices[:, 1]))
        return coo_array((np.asarray(a.values), places), shape=(nodes, nodes)).tocsr()
    if isinstance(a, dict):
        places = (np.asarray(a["receivers"]), np.asarray(a["senders"]))
        weights = np.asarray(a["weights"]) if "weights" in a else np.ones(len(places[0]))
        return coo_array((weights, places), shape=(nodes, nodes)).tocsr()
    return np.asarray(a)
