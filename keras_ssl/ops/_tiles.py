"""Loops over the tiles of a matrix of similarities, which is never stored whole."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def differentiable_once(forward: Callable[[Any, Any], tuple[Any, Callable]]) -> Callable:
    """Make a function from one that returns its value and its vector-Jacobian product.

    A second derivative raises an error.
    """

    @ops.custom_gradient
    def function(x: Any, y: Any) -> Any:
        # without stop_gradient, TensorFlow's tape keeps every tile in eager execution
        value, vjp = forward(ops.stop_gradient(x), ops.stop_gradient(y))

        # takes everything that it depends on, so that no derivative of it is silently 0
        @ops.custom_gradient
        def gradients(upstream: Any, *_: Any) -> Any:
            return vjp(ops.stop_gradient(upstream)), _no_second_derivative

        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            (upstream,) = arguments if upstream is None else (upstream,)
            return gradients(upstream, x, y)

        return value, gradient

    return function


def _no_second_derivative(*_: Any, **__: Any) -> Any:
    raise NotImplementedError(
        "A contrastive loss with `chunk_size` or `queue` has first derivatives only. Where a "
        "gradient is differentiated again, use `chunk_size=None`, and `negatives` in place of "
        "`queue`."
    )


def tile_sizes(size: Any, chunk_size: int) -> tuple[Any, Any]:
    """Length and number of equal tiles, none longer than `chunk_size`, that cover `size`."""
    if isinstance(size, int):
        tiles = max(1, -(-size // chunk_size))
        return max(1, -(-size // tiles)), tiles
    tiles = ops.maximum(1, (size + chunk_size - 1) // chunk_size)
    return ops.maximum(1, (size + tiles - 1) // tiles), tiles


def take_rows(x: Any, start: Any, size: Any) -> Any:
    """`size` rows of `x` from row `start`; both may be tensors."""
    return ops.slice(x, [start, *[0] * (len(x.shape) - 1)], [size, *ops.shape(x)[1:]])


def pad_rows(x: Any, size: Any) -> Any:
    """Append rows of zeros up to `size` rows."""
    missing = size - ops.shape(x)[0]
    if isinstance(missing, int) and missing == 0:
        return x
    return ops.concatenate([x, ops.zeros((missing, *ops.shape(x)[1:]), x.dtype)], axis=0)


def fori_loop(steps: Any, body: Callable[[Any, Any], Any], carry: Any) -> Any:
    """`keras.ops.fori_loop` from 0 that never runs two steps at a time."""
    if keras.backend.backend() != "tensorflow":
        return ops.fori_loop(0, steps, body, carry)
    import tensorflow as tf

    # TensorFlow runs up to ten iterations in parallel, and would hold the tiles of ten
    return tf.while_loop(
        lambda step, _: step < steps,
        lambda step, carry: (step + 1, body(step, carry)),
        (0, carry),
        parallel_iterations=1,
    )[1]


def pad_for_tiles(a: Any, c: Any, a_size: Any, c_size: Any) -> tuple[Any, Any]:
    """Pad anchors and candidates to these sizes; padded candidates get a logit of exp 0."""
    total = ops.shape(c)[0]
    if isinstance(total, int) and total == c_size:
        return pad_rows(a, a_size), c
    # One more column does it within the matrix product. A mask would be another pass over each
    # tile.
    is_padding = ops.cast(ops.arange(c_size, dtype="int32") >= total, c.dtype)[:, None]
    c = ops.concatenate([pad_rows(c, c_size), lowest_logit(c.dtype) * is_padding], axis=1)
    return pad_rows(ops.concatenate([a, ops.ones_like(a[:, :1])], axis=1), a_size), c


def lowest_logit(dtype: Any) -> float:
    """A logit whose `exp` is 0 beside any other, and to which another logit can be added."""
    return float(np.finfo(keras.backend.standardize_dtype(dtype)).min) / 4
