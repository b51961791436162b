"""What losses share that go through a matrix of similarities tile by tile."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def split(size: Any, chunk_size: int) -> tuple[Any, Any]:
    """The length of a tile's side, and how many there are: as even as can be.

    Args:
        size: rows or columns of the matrix; an integer, or a scalar integer tensor.
        chunk_size: the longest side of a tile.

    Returns:
        Two integers, or tensors where `size` is one; their product is at least `size`.

    Example:

    >>> from keras_ssl.ops.tiles import split
    >>> split(10, 4)
    (4, 3)
    """
    if isinstance(size, int):
        tiles = max(1, -(-size // chunk_size))
        return max(1, -(-size // tiles)), tiles
    tiles = ops.maximum(1, (size + chunk_size - 1) // chunk_size)
    return ops.maximum(1, (size + tiles - 1) // tiles), tiles


def rows_of(x: Any, start: Any, size: Any) -> Any:
    """`size` rows of `x` from `start` on.

    Args:
        x: tensor of rank 1 or more.
        start: integer or scalar tensor.
        size: integer or scalar tensor.

    Returns:
        Tensor of the rank of `x`.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.ops.tiles import rows_of
    >>> rows_of(ops.arange(5), 1, 2).numpy().tolist()
    [1, 2]
    """
    return ops.slice(x, [start, *[0] * (len(x.shape) - 1)], [size, *ops.shape(x)[1:]])


def pad(x: Any, size: Any) -> Any:
    """`x` with rows of zeros up to `size` rows.

    Args:
        x: tensor of rank 1 or more.
        size: integer or scalar tensor, at least the rows of `x`.

    Returns:
        Tensor of the rank of `x`; `x` itself where nothing is missing.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.ops.tiles import pad
    >>> pad(ops.ones(2), 4).numpy().tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    missing = size - ops.shape(x)[0]
    if isinstance(missing, int) and missing == 0:
        return x
    return ops.concatenate([x, ops.zeros((missing, *ops.shape(x)[1:]), x.dtype)], axis=0)


def pad_both(a: Any, c: Any, a_size: Any, c_size: Any) -> tuple[Any, Any]:
    """Anchors and candidates with rows up to these sizes; those added are no candidates.

    Args:
        a: anchors, `(n, dim)`.
        c: candidates, `(m, dim)`.
        a_size: at least n.
        c_size: at least m.

    Returns:
        Both, padded. Where candidates are added, both have one more column, which makes the logits
        of those very low.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.ops.tiles import pad_both
    >>> a, c = pad_both(ops.ones((1, 2)), ops.ones((2, 2)), 1, 3)
    >>> logits = ops.matmul(a, ops.transpose(c))
    >>> ops.exp(logits - 2).numpy().tolist()
    [[1.0, 1.0, 0.0]]
    """
    total = ops.shape(c)[0]
    if isinstance(total, int) and total == c_size:
        return pad(a, a_size), c
    # One more column says so within the matrix product. Masking would be another pass over
    # each tile.
    is_added = ops.cast(ops.arange(c_size, dtype="int32") >= total, c.dtype)[:, None]
    c = ops.concatenate([pad(c, c_size), very_low(c.dtype) * is_added], axis=1)
    return pad(ops.concatenate([a, ops.ones_like(a[:, :1])], axis=1), a_size), c


def very_low(dtype: Any) -> float:
    """A logit whose `exp` is 0 beside any other, far enough from the edge to be added to.

    Args:
        dtype: floating-point dtype of the logits.

    Returns:
        A negative number.

    Example:

    >>> from keras_ssl.ops.tiles import very_low
    >>> very_low("float32") < -1e37
    True
    """
    return float(np.finfo(keras.backend.standardize_dtype(dtype)).min) / 4


def loop(steps: Any, body: Callable[[Any, Any], Any], carry: Any) -> Any:
    """`keras.ops.fori_loop` from 0 that never works on two steps at a time.

    Args:
        steps: how many; an integer or a scalar tensor.
        body: function of a step's number and the carry that returns the next carry.
        carry: nested structure of tensors.

    Returns:
        The last carry.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.ops.tiles import loop
    >>> int(loop(3, lambda step, carry: carry + step, ops.convert_to_tensor(0)))
    3
    """
    if keras.backend.backend() != "tensorflow":
        return ops.fori_loop(0, steps, body, carry)
    import tensorflow as tf

    # TensorFlow runs up to ten iterations side by side, and would hold the tiles of ten
    return tf.while_loop(
        lambda step, _: step < steps,
        lambda step, carry: (step + 1, body(step, carry)),
        (0, carry),
        parallel_iterations=1,
    )[1]


def no_second_derivative(*_: Any, **__: Any) -> Any:
    """Stand where the derivative of a gradient would.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "A contrastive loss with `chunk_size` or `queue` has first derivatives only. Use "
        "`chunk_size=None`, and `negatives` in place of `queue`, where a gradient is itself "
        "differentiated."
    )
