"""Log-sum-exp of the similarities in a contrastive softmax, in bounded memory."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_ssl.ops._tiles import (
    differentiable_once,
    fori_loop,
    lowest_logit,
    pad_for_tiles,
    pad_rows,
    take_rows,
    tile_sizes,
)

# Fastest on two cores of the sizes 512 to 65,536, with 256 queries of width 128: a tile stays in
# the cache
QUEUE_CHUNK_SIZE = 8192


def log_sum_exp_of_similarities(
    anchors: Any, candidates: Any, excluded: Any = None, chunk_size: int | None = None
) -> Any:
    """Log of the sum of exp(similarity) over candidates, one value per anchor.

    With a_i an anchor, c_j a candidate and E(i) the candidates excluded for anchor i:

        L(i) = log Σ_{j ∉ E(i)} exp(a_i · c_j)

    Divide `anchors` by the temperature beforehand; it can then be a tensor and gets its gradient.

    Without `chunk_size` the matrix of all similarities is stored. With it, the matrix is computed
    in tiles of at most `(chunk_size, chunk_size)` that are not kept: the forward pass carries the
    running maximum and sum of each anchor from tile to tile, and the backward pass computes the
    tiles again, with P(i, j) = exp(a_i · c_j - L(i)), which costs one more matrix product. Memory
    beside a tile is linear in the number of anchors and candidates. Value and gradient agree to
    rounding. Second derivatives need `chunk_size=None`.

    Args:
        anchors: `(n, dim)`, floating-point, at least float32.
        candidates: `(m, dim)`, of the same dtype.
        excluded: optional integer tensor `(n, e)` with the indices of the candidates to exclude
            for each anchor, none twice in a row.
        chunk_size: rows and columns of a tile, or `None` to store the whole matrix.

    Returns:
        Tensor of shape `(n,)`. An anchor whose candidates are all excluded gets a number so low
        that its `exp` is 0.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops import log_sum_exp_of_similarities
    >>> z = np.eye(4, dtype="float32")
    >>> values = log_sum_exp_of_similarities(z, z, excluded=[[0], [1], [2], [3]], chunk_size=3)
    >>> [round(float(np.exp(value)), 4) for value in values]  # three times exp(0)
    [3.0, 3.0, 3.0, 3.0]

    Reference:
        - [Milakov & Gimelshein, Online normalizer calculation for
          softmax](https://arxiv.org/abs/1805.02867)
        - [Cheng et al., Breaking the Memory Barrier: Near Infinite Batch Size Scaling for
          Contrastive Loss](https://arxiv.org/abs/2410.17243)
    """
    anchors, candidates = ops.convert_to_tensor(anchors), ops.convert_to_tensor(candidates)
    if excluded is not None:
        excluded = ops.cast(ops.convert_to_tensor(excluded), "int32")
    if chunk_size is not None:
        return _in_tiles(anchors, candidates, excluded, chunk_size)
    logits = ops.matmul(anchors, ops.transpose(candidates))
    if excluded is not None:
        columns = ops.arange(ops.shape(candidates)[0], dtype="int32")
        is_excluded = ops.equal(excluded[:, :1], columns)
        for k in range(1, excluded.shape[1]):
            is_excluded = ops.logical_or(is_excluded, ops.equal(excluded[:, k : k + 1], columns))
        logits = ops.where(is_excluded, lowest_logit(logits.dtype), logits)
    return ops.logsumexp(logits, axis=-1)


def log_sum_exp_of_queue(anchors: Any, queue: Any, chunk_size: int | None = None) -> Any:
    """Log of the sum of exp(similarity) over a queue of constant keys, one value per anchor.

    With a_i an anchor and c_j a key of the queue, the value and its gradient are

        L(i) = log Σ_j exp(a_i · c_j)
        dL(i)/da_i = Σ_j exp(a_i · c_j) c_j / Σ_j exp(a_i · c_j)

    The keys get no gradient, so a single pass computes both: it accumulates exp(a_i · c_j) and
    exp(a_i · c_j) c_j over tiles, each of which is computed once and not kept.
    `log_sum_exp_of_similarities`, with a gradient for the candidates, has to keep its tiles or
    compute them twice.

    Args:
        anchors: `(n, dim)`, floating-point, at least float32.
        queue: `(m, dim)`, of the same dtype.
        chunk_size: keys per tile of shape `(n, chunk_size)`; `None` means 8192.

    Returns:
        Tensor of shape `(n,)`, without second derivatives.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops import log_sum_exp_of_queue
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
    chunk_size = QUEUE_CHUNK_SIZE if chunk_size is None else chunk_size
    columns, tiles = tile_sizes(ops.shape(queue)[0], chunk_size)

    def forward(anchors: Any, queue: Any) -> tuple[Any, Callable]:
        a, c = pad_for_tiles(anchors, queue, count, columns * tiles)

        def add_tile(step: Any, carry: Any) -> Any:
            maxima, sums, weighted = carry
            keys = take_rows(c, step * columns, columns)
            logits = ops.matmul(a, ops.transpose(keys))
            largest = ops.maximum(maxima, ops.max(logits, axis=-1))
            exponentials = ops.exp(logits - largest[:, None])
            shrink = ops.exp(maxima - largest)
            sums = shrink * sums + ops.sum(exponentials, axis=-1)
            return largest, sums, shrink[:, None] * weighted + ops.matmul(exponentials, keys)

        zeros = ops.zeros_like(a[:, 0])
        start = (zeros + lowest_logit(a.dtype), zeros, ops.zeros_like(a))
        maxima, sums, weighted = fori_loop(tiles, add_tile, start)
        slope = weighted[:, :dim] / sums[:, None]
        return maxima + ops.log(sums), lambda upstream: (
            upstream[:, None] * slope,
            ops.zeros_like(queue),
        )

    return differentiable_once(forward)(anchors, queue)


def _in_tiles(anchors: Any, candidates: Any, excluded: Any, chunk_size: int) -> Any:
    """`log_sum_exp_of_similarities` with a chunk size."""
    count, total = ops.shape(anchors)[0], ops.shape(candidates)[0]
    rows, row_tiles = tile_sizes(count, chunk_size)
    columns, column_tiles = tile_sizes(total, chunk_size)
    lowest = lowest_logit(anchors.dtype)
    if excluded is not None:
        excluded = pad_rows(excluded, rows * row_tiles)

    def forward(anchors: Any, candidates: Any) -> tuple[Any, Callable]:
        a, c = pad_for_tiles(anchors, candidates, rows * row_tiles, columns * column_tiles)

        def tile(step: Any) -> Any:
            """First row and column of a tile, its anchors and its candidates."""
            row, column = step % row_tiles * rows, step // row_tiles * columns
            return row, column, take_rows(a, row, rows), take_rows(c, column, columns)

        def without_excluded(tile: Any, row: Any, column: Any, value: float) -> Any:
            if excluded is None:
                return tile
            return _replace(tile, take_rows(excluded, row, rows) - column, value)

        def add_to_sums(step: Any, carry: Any) -> Any:
            maxima, sums = carry
            row, column, a_tile, c_tile = tile(step)
            logits = ops.matmul(a_tile, ops.transpose(c_tile))
            logits = without_excluded(logits, row, column, lowest)
            before = take_rows(maxima, row, rows)
            largest = ops.maximum(before, ops.max(logits, axis=-1))
            total = take_rows(sums, row, rows) * ops.exp(before - largest)
            total = total + ops.sum(ops.exp(logits - largest[:, None]), axis=-1)
            return ops.slice_update(maxima, [row], largest), ops.slice_update(sums, [row], total)

        zeros = ops.zeros_like(a[:, 0])
        start = (zeros + lowest, zeros)
        maxima, sums = fori_loop(row_tiles * column_tiles, add_to_sums, start)
        values = maxima + ops.log(sums)

        def gradients(upstream: Any) -> tuple[Any, Any]:
            upstream = pad_rows(upstream, rows * row_tiles)

            def add_to_gradients(step: Any, carry: Any) -> Any:
                grad_a, grad_c = carry
                row, column, a_tile, c_tile = tile(step)
                logits = ops.matmul(a_tile, ops.transpose(c_tile))
                p = ops.exp(logits - take_rows(values, row, rows)[:, None])
                p = without_excluded(p, row, column, 0.0)
                g_tile = take_rows(upstream, row, rows)[:, None]
                step_a = take_rows(grad_a, row, rows) + g_tile * ops.matmul(p, c_tile)
                # transposes the small matrices, not the tile
                step_c = ops.transpose(ops.matmul(ops.transpose(g_tile * a_tile), p))
                step_c = take_rows(grad_c, column, columns) + step_c
                return (
                    ops.slice_update(grad_a, [row, 0], step_a),
                    ops.slice_update(grad_c, [column, 0], step_c),
                )

            start = (ops.zeros_like(a), ops.zeros_like(c))
            grad_a, grad_c = fori_loop(row_tiles * column_tiles, add_to_gradients, start)
            dim = ops.shape(anchors)[1]
            return grad_a[:count, :dim], grad_c[:total, :dim]

        return values[:count], gradients

    return differentiable_once(forward)(anchors, candidates)


def _replace(tile: Any, columns: Any, value: float) -> Any:
    """Set `tile` to `value` at the columns `(rows, e)`, most of which lie outside of it."""
    rows, width = ops.shape(tile)[0], ops.shape(tile)[1]
    row = ops.arange(rows, dtype="int32")
    inside = ops.logical_and(columns >= 0, columns < width)
    columns = ops.clip(columns, 0, width - 1)

    def replaced() -> Any:
        result = tile
        # one after the other: several outside the tile are all clipped to one place
        for k in range(columns.shape[1]):
            present = ops.take_along_axis(result, columns[:, k : k + 1], axis=1)[:, 0]
            new = ops.where(inside[:, k], ops.convert_to_tensor(value, tile.dtype), present)
            result = ops.scatter_update(result, ops.stack([row, columns[:, k]], axis=1), new)
        return result

    # few tiles hold any, and this copies the tile
    return ops.cond(ops.any(inside), replaced, lambda: tile)
