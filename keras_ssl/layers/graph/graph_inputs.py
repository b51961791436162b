"""The parts of a graph, told apart by their dtype."""

from typing import Any, NamedTuple

import keras


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
