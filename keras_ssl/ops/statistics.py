"""Batch statistics of embeddings, used by redundancy reduction."""

from typing import Any

from keras import ops

from keras_ssl.ops.precision import at_least_float32


def center(z: Any) -> Any:
    """Subtract the mean of each column.

    Args:
        z: `(n, dim)`, floating-point, n at least 1.

    Returns:
        Tensor of the shape of `z`, at least float32. Equal rows give exact zeros.

    Example:

    >>> from keras_ssl.ops import center
    >>> [float(value) for value in center([[1.0], [3.0]])[:, 0]]
    [-1.0, 1.0]
    """
    z = at_least_float32(z)
    # the result does not depend on a shift; after this one, a mean far from 0 costs no digits
    z = z - ops.stop_gradient(z[:1])
    return z - ops.mean(z, axis=0, keepdims=True)


def standardize(z: Any, epsilon: float = 1e-5) -> Any:
    """Batch normalisation without parameters: `(z - mean) / sqrt(variance + epsilon)` by column.

    The variance is the biased estimate, the mean of squares. Columns of huge numbers do not
    overflow.

    Args:
        z: `(n, dim)`, floating-point, n at least 1.
        epsilon: added to the variance.

    Returns:
        Tensor of the shape of `z`, at least float32. A constant column becomes zeros.

    Example:

    >>> from keras_ssl.ops import standardize
    >>> [round(float(value), 4) for value in standardize([[0.0, 1e30], [2.0, 3e30]])[1]]
    [1.0, 1.0]
    """
    # with a quarter, the difference of two rows of the largest floats is still finite
    z = 0.25 * at_least_float32(z)
    z = z - ops.stop_gradient(z[:1])
    # columns of large numbers are scaled down, and epsilon with them
    largest = ops.max(ops.abs(z), axis=0, keepdims=True)
    scale = ops.stop_gradient(ops.maximum(largest, ops.ones_like(largest)))
    centered = center(z / scale)
    variance = ops.mean(ops.square(centered), axis=0, keepdims=True)
    return centered * ops.rsqrt(variance + epsilon * ops.square(0.25 / scale))


def off_diagonal_sum_of_squares(a: Any, b: Any) -> Any:
    """Sum of the squared off-diagonal entries of `aᵀ b`.

    The sum of all squared entries of C = aᵀ b equals the sum of the elementwise product of `a aᵀ`
    and `b bᵀ`. The smaller of the two products is computed: with fewer rows than columns, C is
    never stored. The subtraction of the diagonal loses few digits there, since C has rank n < dim
    and so its off-diagonal squares are not small beside the diagonal ones.

    Args:
        a: `(..., n, dim)`, floating-point.
        b: of the shape and dtype of `a`. If it is `a` itself, one product is computed, not two.

    Returns:
        At least 0: a scalar, or one value per matrix, `(...)`.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.ops import off_diagonal_sum_of_squares
    >>> float(off_diagonal_sum_of_squares(ops.ones((2, 3)), ops.ones((2, 3))))  # six times 2 * 2
    24.0
    """
    rows, columns = a.shape[-2:]
    if rows is None or rows >= columns:
        c = ops.matmul(ops.swapaxes(a, -1, -2), b)
        squares = ops.square(c * (1 - ops.eye(columns, dtype=c.dtype)))
        return ops.sum(squares, axis=(-2, -1))
    gram_a = ops.matmul(a, ops.swapaxes(a, -1, -2))
    gram_b = gram_a if b is a else ops.matmul(b, ops.swapaxes(b, -1, -2))
    diagonal = ops.sum(a * b, axis=-2)
    squares = ops.sum(gram_a * gram_b, axis=(-2, -1)) - ops.sum(ops.square(diagonal), axis=-1)
    return ops.maximum(squares, 0)
