"""Graphs as NumPy, SciPy and `graphs.Graph` hold them, as inputs of layers."""

from typing import Any

import keras
import numpy as np

from keras_ssl.graphs import Graph, sparse_tensor
from keras_ssl.layers.graph.sparse_tensors import is_sparse


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
