"""Distances of vectors, with a gradient of zero where vectors are equal."""

from typing import Any

from keras import ops


def norms(difference: Any, p: int = 2) -> Any:
    """Return the lengths of vectors along the last axis in the L1 or L2 norm."""
    if p == 1:
        return ops.sum(ops.abs(difference), axis=-1)
    return _root(ops.sum(ops.square(difference), axis=-1))


def pairwise_distances(x: Any, y: Any, p: int = 2) -> Any:
    """Return the distances of all rows of `x` from all rows of `y`, `(n, m)`."""
    if p == 1:
        return norms(x[:, None] - y[None], p)
    # numbers near 0 keep more digits in the differences of squares
    middle = ops.stop_gradient(ops.mean(y, axis=0))
    x, y = x - middle, y - middle
    squares = ops.sum(ops.square(x), axis=-1)[:, None] + ops.sum(ops.square(y), axis=-1)
    return _root(squares - 2 * ops.matmul(x, ops.transpose(y)))


def _root(squares: Any) -> Any:
    # the inner `where` keeps the root away from 0, the outer one stops the gradient there
    is_positive = squares > 0
    root = ops.sqrt(ops.where(is_positive, squares, ops.ones_like(squares)))
    return ops.where(is_positive, root, ops.zeros_like(root))
