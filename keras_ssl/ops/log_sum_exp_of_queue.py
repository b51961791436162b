"""The log-sum-exp of a contrastive softmax over keys that do not learn, in one pass."""

from typing import Any

from keras import ops

from keras_ssl.ops.tiles import loop, no_second_derivative, pad_both, rows_of, split, very_low

# Fastest on two cores, of 512 to 65,536, with 256 queries of width 128: the tile stays in the cache
CHUNK_SIZE = 8192


def log_sum_exp_of_queue(anchors: Any, queue: Any, chunk_size: int | None = None) -> Any:
    """Log of the sum over a queue of exp(similarity), one value an anchor.

    With a_i an anchor and c_j a key of the queue, the value and its gradient are

        L(i) = log Σ_j exp(a_i · c_j)
        dL(i)/da_i = Σ_j exp(a_i · c_j) c_j / Σ_j exp(a_i · c_j)

    The keys get no gradient. So one pass over them serves both: tile by tile, it adds up
    exp(a_i · c_j) and exp(a_i · c_j) c_j, each tile is made once, and none is kept. With a
    gradient for the keys (`log_sum_exp_of_similarities`) the tiles are kept, or made twice.

    Args:
        anchors: `(n, dim)`, floating-point, at least float32.
        queue: `(m, dim)`, of the same dtype.
        chunk_size: keys a tile, of `(n, chunk_size)`; `None` means 8192.

    Returns:
        Tensor of shape `(n,)`. It has no second derivatives.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops.log_sum_exp_of_queue import log_sum_exp_of_queue
    >>> z = np.eye(4, dtype="float32")
    >>> values = log_sum_exp_of_queue(z, z, chunk_size=3)
    >>> [round(float(np.exp(value)), 4) for value in values]  # exp(1) and three times exp(0)
    [5.7183, 5.7183, 5.7183, 5.7183]

    Reference:
        - [Milakov & Gimelshein, Online normalizer calculation for
          softmax](https://arxiv.org/abs/1805.02867)
    """
    anchors, queue = ops.convert_to_tensor(anchors), ops.convert_to_tensor(queue)
    count, dim = ops.shape(anchors)
    columns, tiles = split(ops.shape(queue)[0], CHUNK_SIZE if chunk_size is None else chunk_size)

    @ops.custom_gradient
    def log_sum_exp(anchors: Any, queue: Any) -> Any:
        # without stop_gradient, TensorFlow's tape keeps every tile when it runs eagerly
        a, c = (ops.stop_gradient(x) for x in (anchors, queue))
        a, c = pad_both(a, c, count, columns * tiles)

        def add_tile(step: Any, carry: Any) -> Any:
            maxima, sums, weighted = carry
            keys = rows_of(c, step * columns, columns)
            logits = ops.matmul(a, ops.transpose(keys))
            largest = ops.maximum(maxima, ops.max(logits, axis=-1))
            exponentials = ops.exp(logits - largest[:, None])
            shrink = ops.exp(maxima - largest)
            sums = shrink * sums + ops.sum(exponentials, axis=-1)
            return largest, sums, shrink[:, None] * weighted + ops.matmul(exponentials, keys)

        zeros = ops.zeros_like(a[:, 0])
        start = (zeros + very_low(a.dtype), zeros, ops.zeros_like(a))
        maxima, sums, weighted = loop(tiles, add_tile, start)
        slope = weighted[:, :dim] / sums[:, None]

        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            (upstream,) = arguments if upstream is None else (upstream,)
            return gradients(upstream, anchors, queue)

        # a function of all that it depends on, so that no derivative of it is silently 0
        @ops.custom_gradient
        def gradients(upstream: Any, *_: Any) -> Any:
            return (upstream[:, None] * slope, ops.zeros_like(queue)), no_second_derivative

        return maxima + ops.log(sums), gradient

    return log_sum_exp(anchors, queue)
