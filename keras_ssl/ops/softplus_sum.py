"""Sum of the softplus of similarities, as sigmoid losses have it, in bounded memory."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_ssl.ops._tiles import (
    differentiable_once,
    fori_loop,
    pad_for_tiles,
    pad_rows,
    take_rows,
    tile_sizes,
)


def softplus_sum_of_similarities(
    anchors: Any, candidates: Any, chunk_size: int | None = None
) -> Any:
    """Sum of log(1 + exp(similarity)) over candidates, one value per anchor.

    With a_i an anchor and c_j a candidate:

        L(i) = Σ_j log(1 + exp(a_i · c_j))

    Multiply `anchors` by a scale beforehand. A bias is one more column: its value in the anchors,
    1 in the candidates. Both can be tensors and get their gradients.

    Without `chunk_size` the matrix of all similarities is stored. With it, the matrix is computed
    in tiles of at most `(chunk_size, chunk_size)` that are not kept; the backward pass computes
    them again. Value and gradient agree to rounding. Second derivatives need `chunk_size=None`.

    Args:
        anchors: `(n, dim)`, floating-point, at least float32.
        candidates: `(m, dim)`, of the same dtype.
        chunk_size: rows and columns of a tile, or `None` to store the whole matrix.

    Returns:
        Tensor of shape `(n,)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops import softplus_sum_of_similarities
    >>> z = np.eye(3, dtype="float32")
    >>> values = softplus_sum_of_similarities(z, z, chunk_size=2)
    >>> [round(float(value), 4) for value in values]  # log(1 + e) + 2 log(2)
    [2.6996, 2.6996, 2.6996]

    Reference:
        - [Zhai et al., Sigmoid Loss for Language Image Pre-Training](
          https://arxiv.org/abs/2303.15343), section 3.3: the loss in chunks
    """
    anchors, candidates = ops.convert_to_tensor(anchors), ops.convert_to_tensor(candidates)
    if chunk_size is None:
        return ops.sum(ops.softplus(ops.matmul(anchors, ops.transpose(candidates))), axis=-1)
    count, dim = ops.shape(anchors)
    total = ops.shape(candidates)[0]
    rows, row_tiles = tile_sizes(count, chunk_size)
    columns, column_tiles = tile_sizes(total, chunk_size)

    def forward(anchors: Any, candidates: Any) -> tuple[Any, Callable]:
        a, c = pad_for_tiles(anchors, candidates, rows * row_tiles, columns * column_tiles)

        def tile(step: Any) -> Any:
            """First row and column of a tile, its anchors and its candidates."""
            row, column = step % row_tiles * rows, step // row_tiles * columns
            return row, column, take_rows(a, row, rows), take_rows(c, column, columns)

        def add_to_sums(step: Any, sums: Any) -> Any:
            row, _, a_tile, c_tile = tile(step)
            values = ops.softplus(ops.matmul(a_tile, ops.transpose(c_tile)))
            total = take_rows(sums, row, rows) + ops.sum(values, axis=-1)
            return ops.slice_update(sums, [row], total)

        sums = fori_loop(row_tiles * column_tiles, add_to_sums, ops.zeros_like(a[:, 0]))

        def gradients(upstream: Any) -> tuple[Any, Any]:
            upstream = pad_rows(upstream, rows * row_tiles)

            def add_to_gradients(step: Any, carry: Any) -> Any:
                grad_a, grad_c = carry
                row, column, a_tile, c_tile = tile(step)
                slope = ops.sigmoid(ops.matmul(a_tile, ops.transpose(c_tile)))
                slope = take_rows(upstream, row, rows)[:, None] * slope
                step_a = take_rows(grad_a, row, rows) + ops.matmul(slope, c_tile)
                # transposes the small matrices, not the tile
                step_c = ops.transpose(ops.matmul(ops.transpose(a_tile), slope))
                step_c = take_rows(grad_c, column, columns) + step_c
                return (
                    ops.slice_update(grad_a, [row, 0], step_a),
                    ops.slice_update(grad_c, [column, 0], step_c),
                )

            start = (ops.zeros_like(a), ops.zeros_like(c))
            grad_a, grad_c = fori_loop(row_tiles * column_tiles, add_to_gradients, start)
            return grad_a[:count, :dim], grad_c[:total, :dim]

        return sums[:count], gradients

    return differentiable_once(forward)(anchors, candidates)
