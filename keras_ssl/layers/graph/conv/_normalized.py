"""Products with a normalized adjacency, computed in the call from the plain one."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_ssl.ops.graph.edges import Edges, dtype_of_products


def normalized_product(edges: Edges, self_loops: bool = True) -> Callable[[Any], Any]:
    """Return the function h -> D^-1/2 (A + I) D^-1/2 h, given the edges of A.

    A node that has a self-loop gets none from I. Without `self_loops`, I is left out.

    A negative degree has no root: an error, as of `graphs.normalized_adjacency`, or NaN in a
    compiled function, which cannot raise an error that depends on values.
    """
    degree = edges.degree()
    missing = None
    if self_loops:
        missing = ops.cast(ops.equal(edges.self_loops(), 0), degree.dtype)
        degree = degree + missing
    _check_degrees(degree)
    is_reached = ops.not_equal(degree, 0)  # rsqrt of negative degrees is NaN
    scale = ops.where(is_reached, ops.rsqrt(ops.where(is_reached, degree, 1.0)), 0.0)

    def multiply(h: Any) -> Any:
        dtype = dtype_of_products(scale, h)  # roots of small degrees exceed the range of float16
        root = ops.cast(scale, dtype)
        scaled = root * ops.cast(h, dtype)
        product = edges.multiply(scaled)
        if missing is not None:
            product = product + ops.cast(missing, dtype) * scaled
        return ops.cast(root * product, h.dtype)

    return multiply


def transition_product(edges: Edges) -> Callable[[Any], Any]:
    """Return the function h -> D^-1 A h, as `graphs.row_normalize` scales A."""
    degree = edges.with_weights(ops.abs(edges.weights)).degree()
    scale = ops.where(degree > 0, 1.0 / ops.where(degree > 0, degree, 1.0), 0.0)

    def multiply(h: Any) -> Any:
        dtype = dtype_of_products(scale, h)
        return ops.cast(ops.cast(scale, dtype) * edges.multiply(ops.cast(h, dtype)), h.dtype)

    return multiply


def _check_degrees(degree: Any) -> None:
    """Raise a `ValueError` for negative degrees, if their values are known."""
    try:
        smallest = np.min(np.asarray(degree), initial=0.0)
    except (NotImplementedError, TypeError, ValueError):  # symbolic, or in a compiled function
        return
    if smallest < 0:
        raise ValueError(
            "`a` must not have negative degrees, the sums of the weights that nodes receive. "
            f"Received: a degree of {smallest}"
        )
