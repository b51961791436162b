"""Rows of nodes by their numbers."""

from typing import Any

from keras import ops


def take_nodes(x: Any, nodes: Any) -> Any:
    """Return the features of nodes, of each graph its own.

    Args:
        x: features, `(nodes, features)` or `(batch, nodes, features)`, dense.
        nodes: integers, numbers of nodes, `(n,)` or `(batch, n)`.

    Returns:
        `(n, features)` or `(batch, n, features)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph.take_nodes import take_nodes
    >>> take_nodes(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0])).numpy().tolist()
    [[3.0], [1.0]]
    """
    if len(x.shape) == 2:
        return ops.take(x, nodes, axis=0)  # the general way lays out an index a number
    return ops.take_along_axis(x, ops.expand_dims(nodes, -1), axis=-2)
