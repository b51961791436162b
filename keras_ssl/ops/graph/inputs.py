"""The inputs of layers on graphs: `[x, a, ...]` by name, and `graphs.Graph`."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ssl.graphs import Graph, sparse_tensor
from keras_ssl.ops.graph.sparse import is_sparse


class GraphInputs(NamedTuple):
    """What a graph, or a batch of graphs, consists of; what is not there is `None`.

    Attributes:
        x: features of the nodes.
        a: adjacency of any form.
        e: features of the edges.
        i: the graph of each node, in disjoint mode.
        mask: which rows of `x` are nodes and no padding.
    """

    x: Any
    a: Any
    e: Any = None
    i: Any = None
    mask: Any = None


def read_graph(inputs: Any) -> GraphInputs:
    """Tell the parts of a graph apart.

    Args:
        inputs: `[x, a]` and, after these, features of the edges (floats), the graph of each node
            (a vector of integers) and the mask of the nodes (booleans), in any order.

    Returns:
        The parts by name.

    Raises:
        ValueError: if the inputs are not a list of `x`, `a` and, at most once each, the others.
    """
    if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
        raise ValueError(
            "A network on graphs is called on `[x, a]`, node features and adjacency. "
            f"Received: {type(inputs)}"
        )
    x, a, *others = inputs
    found = {part_name(one): one for one in others}
    if len(found) < len(others):
        raise ValueError(
            "After `[x, a]` come, each at most once, features of the edges (floats), the graph of "
            "each node (a vector of integers) and the mask of the nodes (booleans). Received: "
            f"dtypes {[keras.backend.standardize_dtype(one.dtype) for one in others]}"
        )
    return GraphInputs(x, a, **found)


def part_name(part: Any) -> str:
    """Return which part of a graph a tensor is, by its dtype, if it follows `x` and `a`.

    Integers are the graph of each node where they are a vector, otherwise features of the edges,
    such as kinds of bonds.

    Args:
        part: tensor.

    Returns:
        "e", "i" or "mask".
    """
    dtype = keras.backend.standardize_dtype(part.dtype)
    if dtype == "bool":
        return "mask"
    return "i" if keras.backend.is_int_dtype(dtype) and len(part.shape) == 1 else "e"


def take_nodes(x: Any, nodes: Any) -> Any:
    """Return the features of nodes, of each graph its own.

    Args:
        x: features, `(nodes, features)` or `(batch, nodes, features)`, dense.
        nodes: integers, numbers of nodes, `(n,)` or `(batch, n)`.

    Returns:
        `(n, features)` or `(batch, n, features)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops.graph.inputs import take_nodes
    >>> take_nodes(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0])).numpy().tolist()
    [[3.0], [1.0]]
    """
    if len(x.shape) == 2:
        return ops.take(x, nodes, axis=0)  # the general way lays out an index a number
    return ops.take_along_axis(x, ops.expand_dims(nodes, -1), axis=-2)


class TakesGraphs:
    """Mixed into layers that are called on a graph, which Keras wants in tensors.

    Called by hand they also take a `graphs.Graph`, and SciPy matrices as `x` and `a`.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            args = (graph_tensors(args[0]), *args[1:])
        return super().__call__(*args, **kwargs)


def graph_tensors(inputs: Any) -> Any:
    """Return the inputs of a layer on graphs as Keras takes them.

    Args:
        inputs: `[x, a, ...]` or a `graphs.Graph`.

    Returns:
        A list `[x, a]`, or `[x, a, e]` of a graph whose edges have features; SciPy matrices as
        sparse tensors, and arrays beside them, or beside sparse tensors, as tensors. Otherwise the
        inputs as they are.

    Raises:
        ValueError: if a `graphs.Graph` has no features of the nodes.
    """
    from scipy.sparse import issparse

    if isinstance(inputs, Graph):
        if inputs.x is None:
            raise ValueError(
                "Layers on graphs need features of the nodes: expected a `Graph` with `x`. "
                f"Received: {inputs}"
            )
        inputs = [inputs.x, inputs.a, *([] if inputs.e is None else [inputs.e])]
    if not any(issparse(part) or is_sparse(part) for part in keras.tree.flatten(inputs)):
        return inputs

    def as_tensor(part: Any) -> Any:
        if issparse(part):
            return sparse_tensor(part)
        return keras.ops.convert_to_tensor(part) if isinstance(part, np.ndarray) else part

    return keras.tree.map_structure(as_tensor, inputs)
