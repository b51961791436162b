"""The inputs of graph layers: `[x, a, ...]` by name, and `graphs.Graph`."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ssl._keras_internals import keep_input_dtypes
from keras_ssl.graphs import Graph, sparse_tensor
from keras_ssl.ops.graph.sparse import check_rank, is_sparse


class GraphInputs(NamedTuple):
    """The parts of a graph or a batch of graphs; missing ones are `None`.

    Attributes:
        x: node features.
        a: adjacency in any form.
        e: edge features.
        i: index of each node's graph, in disjoint mode.
        mask: `True` for rows of `x` that are nodes, `False` for padding.
    """

    x: Any
    a: Any
    e: Any = None
    i: Any = None
    mask: Any = None


def read_graph(inputs: Any) -> GraphInputs:
    """Return the parts of `[x, a, ...]` by name.

    After `x` and `a` may follow edge features (floats), the index of each node's graph (an integer
    vector) and the node mask (booleans), in any order and at most once each.
    """
    if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
        raise ValueError(
            "A graph network is called on `[x, a]`, node features and adjacency. "
            f"Received: {type(inputs)}"
        )
    x, a, *others = inputs
    found = {part_name(one): one for one in others}
    if len(found) < len(others):
        raise ValueError(
            "`[x, a]` may be followed, at most once each, by edge features (floats), the index of "
            "each node's graph (an integer vector) and the node mask (booleans). Received: "
            f"dtypes {[keras.backend.standardize_dtype(one.dtype) for one in others]}"
        )
    graph = GraphInputs(x, a, **found)
    if hasattr(x, "shape"):  # not the pair of a bipartite graph
        _check_rows("i", graph.i, tuple(x.shape[:1]) if len(x.shape) == 2 else None)
        _check_rows("mask", graph.mask, tuple(x.shape[:-1]))
    return graph


def _check_rows(name: str, part: Any, expected: tuple | None) -> None:
    """Raise a `ValueError` if there is not one value per node; `None` if there may be none."""
    if part is None:
        return
    shape = tuple(part.shape)
    meaning = "the index of each node's graph" if name == "i" else "the mask of the nodes"
    if expected is None:
        raise ValueError(
            f"A vector of integers after `[x, a]` is `{name}`, {meaning} in a union, which needs x "
            f"of shape (nodes, features). Received: x with a batch axis, and a vector of {shape[0]}"
        )
    if len(shape) != len(expected) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(shape, expected, strict=True)
    ):
        of_shape = f"have shape {expected}"
        if name == "i":
            of_shape = f"be a vector of length {expected[0]}"
        raise ValueError(
            f"`{name}`, {meaning}, must {of_shape}, one value per node. Received: shape {shape}"
        )


def node_mask(graph: GraphInputs) -> Any:
    """Return booleans `(..., nodes)`, `False` for padding, or `None` if all rows are nodes."""
    if graph.i is None:
        return graph.mask
    is_node = ops.greater_equal(graph.i, 0)
    return is_node if graph.mask is None else ops.logical_and(is_node, graph.mask)


def part_name(part: Any) -> str:
    """Return "e", "i" or "mask": the part of `GraphInputs` that a tensor after `[x, a]` is.

    Integers are `i` if they are a vector, otherwise edge features such as bond types.
    """
    dtype = keras.backend.standardize_dtype(part.dtype)
    if dtype == "bool":
        return "mask"
    return "i" if keras.backend.is_int_dtype(dtype) and len(part.shape) == 1 else "e"


def take_nodes(x: Any, nodes: Any) -> Any:
    """Return rows `nodes` (`(n,)` or `(batch, n)`) of the dense node features `x`."""
    if len(x.shape) == 2:
        return ops.take(x, nodes, axis=0)  # take_along_axis would build an index for each number
    return ops.take_along_axis(x, ops.expand_dims(nodes, -1), axis=-2)


class TakesGraphs:
    """Mix-in for layers that may also be called on a `graphs.Graph` and on SciPy matrices.

    Inputs are cast to the compute dtype as in other layers, but what is on edges to at least
    float32: in float16 an edge of weight 1e-8 would be no edge, and in bfloat16 the edge type 257
    would be 256. `GraphLayer.split_inputs` casts edge features.

    Args:
        *args: arguments of the layer.
        **kwargs: arguments of the layer.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        keep_input_dtypes(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            args = (self._in_dtypes(graph_tensors(args[0])), *args[1:])
        elif "inputs" in kwargs:
            kwargs["inputs"] = self._in_dtypes(graph_tensors(kwargs["inputs"]))
        return super().__call__(*args, **kwargs)

    def _in_dtypes(self, inputs: Any) -> Any:
        dtype = self.input_dtype

        def cast(part: Any, dtype: str = dtype) -> Any:
            return self.dtype_policy.convert_input(part, self.autocast, dtype)

        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            return keras.tree.map_structure(cast, inputs)
        x, a, *others = inputs
        wide = keras.backend.result_type(dtype, "float32")
        a = keras.tree.map_structure(lambda part: cast(part, wide), a)
        x = keras.tree.map_structure(cast, x)
        others = [cast(part, wide) for part in others]
        return type(inputs)([x, a, *others])


def graph_tensors(inputs: Any) -> Any:
    """Convert a `graphs.Graph` to `[x, a]` or `[x, a, e]`, and SciPy matrices to sparse tensors."""
    from scipy.sparse import issparse

    if isinstance(inputs, Graph):
        if inputs.x is None:
            raise ValueError(
                f"Graph layers need node features: expected a `Graph` with `x`. Received: {inputs}"
            )
        inputs = [inputs.x, inputs.a, *([] if inputs.e is None else [inputs.e])]
    parts = keras.tree.flatten(inputs)
    for part in parts:
        check_rank(part)
    if not any(issparse(part) or is_sparse(part) for part in parts):
        return inputs

    def as_tensor(part: Any) -> Any:
        if issparse(part):
            return sparse_tensor(part)
        # Keras converts no arrays beside sparse tensors
        return ops.convert_to_tensor(part) if isinstance(part, np.ndarray) else part

    return keras.tree.map_structure(as_tensor, inputs)
