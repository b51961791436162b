"""The log-sum-exp of a contrastive softmax, also where its matrix does not fit in memory."""

from typing import Any

from keras import ops

from keras_ssl.ops.tiles import (
    loop,
    no_second_derivative,
    pad,
    pad_both,
    rows_of,
    split,
    very_low,
)


def log_sum_exp_of_similarities(
    anchors: Any, candidates: Any, excluded: Any = None, chunk_size: int | None = None
) -> Any:
    """Log of the sum over candidates of exp(similarity), one value an anchor.

    With a_i an anchor, c_j a candidate and E(i) the candidates that anchor i leaves out:

        L(i) = log Σ_{j ∉ E(i)} exp(a_i · c_j)

    A temperature is divided out of `anchors` beforehand, so that it may be a tensor and gets its
    gradient.

    Without `chunk_size` the matrix of all similarities is stored. With it, the matrix is made in
    tiles of at most `(chunk_size, chunk_size)`, and none is kept: the forward pass carries the
    largest similarity and the sum of each anchor from tile to tile, and the backward pass makes
    the tiles again, with P(i, j) = exp(a_i · c_j - L(i)), which is one more matrix product. What
    is held beside a tile is of the size of the anchors and candidates. Value and gradient are
    the same to rounding. Second derivatives are only there without `chunk_size`.

    Args:
        anchors: `(n, dim)`, floating-point, at least float32.
        candidates: `(m, dim)`, of the same dtype.
        excluded: optional integer tensor `(n, e)`: for each anchor the indices of candidates left
            out, no index twice in a row.
        chunk_size: rows and columns of a tile, or `None` to store the whole matrix.

    Returns:
        Tensor of shape `(n,)`. For an anchor whose candidates are all left out, a number so low
        that its `exp` is 0.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops.log_sum_exp import log_sum_exp_of_similarities
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
        return _tiled(anchors, candidates, excluded, chunk_size)
    logits = ops.matmul(anchors, ops.transpose(candidates))
    if excluded is not None:
        columns = ops.arange(ops.shape(candidates)[0], dtype="int32")
        left_out = ops.equal(excluded[:, :1], columns)
        for k in range(1, excluded.shape[1]):
            left_out = ops.logical_or(left_out, ops.equal(excluded[:, k : k + 1], columns))
        logits = ops.where(left_out, very_low(logits.dtype), logits)
    return ops.logsumexp(logits, axis=-1)


def _tiled(anchors: Any, candidates: Any, excluded: Any, chunk_size: int) -> Any:
    """`log_sum_exp_of_similarities` tile by tile."""
    count, total = ops.shape(anchors)[0], ops.shape(candidates)[0]
    rows, row_tiles = split(count, chunk_size)
    columns, column_tiles = split(total, chunk_size)
    lowest = very_low(anchors.dtype)
    if excluded is not None:
        excluded = pad(excluded, rows * row_tiles)

    @ops.custom_gradient
    def log_sum_exp(anchors: Any, candidates: Any) -> Any:
        # without stop_gradient, TensorFlow's tape keeps every tile when it runs eagerly
        a, c = pad_both(
            ops.stop_gradient(anchors),
            ops.stop_gradient(candidates),
            rows * row_tiles,
            columns * column_tiles,
        )

        def tile(step: Any) -> Any:
            """Where the tile begins, its anchors and candidates."""
            row, column = step % row_tiles * rows, step // row_tiles * columns
            return row, column, rows_of(a, row, rows), rows_of(c, column, columns)

        def without_excluded(tile: Any, row: Any, column: Any, value: float) -> Any:
            if excluded is None:
                return tile
            return _replace(tile, rows_of(excluded, row, rows) - column, value)

        def add_to_sums(step: Any, carry: Any) -> Any:
            maxima, sums = carry
            row, column, a_tile, c_tile = tile(step)
            logits = ops.matmul(a_tile, ops.transpose(c_tile))
            logits = without_excluded(logits, row, column, lowest)
            before = rows_of(maxima, row, rows)
            largest = ops.maximum(before, ops.max(logits, axis=-1))
            total = rows_of(sums, row, rows) * ops.exp(before - largest)
            total = total + ops.sum(ops.exp(logits - largest[:, None]), axis=-1)
            return ops.slice_update(maxima, [row], largest), ops.slice_update(sums, [row], total)

        zeros = ops.zeros_like(a[:, 0])
        maxima, sums = loop(row_tiles * column_tiles, add_to_sums, (zeros + lowest, zeros))
        values = maxima + ops.log(sums)

        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            (upstream,) = arguments if upstream is None else (upstream,)
            return gradients(upstream, anchors, candidates)

        # a function of all that it depends on, so that no derivative of it is silently 0
        @ops.custom_gradient
        def gradients(upstream: Any, *_: Any) -> Any:
            g = pad(ops.stop_gradient(upstream), rows * row_tiles)

            def add_to_gradients(step: Any, carry: Any) -> Any:
                grad_a, grad_c = carry
                row, column, a_tile, c_tile = tile(step)
                logits = ops.matmul(a_tile, ops.transpose(c_tile))
                p = ops.exp(logits - rows_of(values, row, rows)[:, None])
                p = without_excluded(p, row, column, 0.0)
                g_tile = rows_of(g, row, rows)[:, None]
                step_a = rows_of(grad_a, row, rows) + g_tile * ops.matmul(p, c_tile)
                # transposed are the small matrices, not the tile
                step_c = ops.transpose(ops.matmul(ops.transpose(g_tile * a_tile), p))
                step_c = rows_of(grad_c, column, columns) + step_c
                return (
                    ops.slice_update(grad_a, [row, 0], step_a),
                    ops.slice_update(grad_c, [column, 0], step_c),
                )

            start = (ops.zeros_like(a), ops.zeros_like(c))
            grad_a, grad_c = loop(row_tiles * column_tiles, add_to_gradients, start)
            dim = ops.shape(anchors)[1]
            return (grad_a[:count, :dim], grad_c[:total, :dim]), no_second_derivative

        return values[:count], gradient

    return log_sum_exp(anchors, candidates)


def _replace(tile: Any, columns: Any, value: float) -> Any:
    """`tile` with `value` at these columns `(rows, e)`, of which most lie outside of it."""
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
