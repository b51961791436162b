"""Statistics of embeddings over a batch, which redundancy reduction is made of."""

from typing import Any

import keras
from keras import ops


def center(z: Any) -> Any:
    """Subtract the mean of each column.

    Args:
        z: `(n, dim)`, floating-point, n at least 1.

    Returns:
        Tensor of the shape of `z`, at least float32. Equal rows give exact zeros.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.ops.batch_statistics import center
    >>> [float(value) for value in center(ops.convert_to_tensor([[1.0], [3.0]]))[:, 0]]
    [-1.0, 1.0]
    """
    z = ops.convert_to_tensor(z)
    z = ops.cast(z, keras.backend.result_type(z.dtype, "float32"))
    # the result does not depend on a shift; after this one, a mean far from 0 costs no digits
    z = z - ops.stop_gradient(z[:1])
    return z - ops.mean(z, axis=0, keepdims=True)


def standardize(z: Any, epsilon: float = 1e-5) -> Any:
    """Give each column mean 0 and variance 1: `(z - mean) / sqrt(variance + epsilon)`.

    Batch normalisation without parameters. The variance is the mean of squares, not the unbiased
    estimate. Columns of huge numbers do not overflow.

    Args:
        z: `(n, dim)`, floating-point, n at least 1.
        epsilon: added to the variance.

    Returns:
        Tensor of the shape of `z`, at least float32. A column of equal numbers becomes zeros.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.ops.batch_statistics import standardize
    >>> z = ops.convert_to_tensor([[0.0, 1e30], [2.0, 3e30]])
    >>> [round(float(value), 4) for value in standardize(z)[1]]
    [1.0, 1.0]
    """
    z = ops.convert_to_tensor(z)
    z = ops.cast(z, keras.backend.result_type(z.dtype, "float32"))
    # the difference of two rows of the largest floats is then still a float
    z = 0.25 * z
    z = z - ops.stop_gradient(z[:1])
    # columns of large numbers are made small, and epsilon with them
    largest = ops.max(ops.abs(z), axis=0, keepdims=True)
    scale = ops.stop_gradient(ops.maximum(largest, ops.ones_like(largest)))
    centered = center(z / scale)
    variance = ops.mean(ops.square(centered), axis=0, keepdims=True)
    return centered * ops.rsqrt(variance + epsilon * ops.square(0.25 / scale))


def off_diagonal_sum_of_squares(a: Any, b: Any) -> Any:
    """Sum of the squares of `aᵀ b` off its diagonal.

    With C = aᵀ b, the sum of all squares of C is that of the products of `a aᵀ` and `b bᵀ`,
    element by element. Of the two ways, the one with the smaller matrices is taken: with fewer
    rows than columns, C is never made. Rounding does no harm there: C is of rank n < dim, so that
    its squares off the diagonal are not small beside those on it.

    Args:
        a: `(n, dim)`, floating-point.
        b: `(n, dim)`, of the same dtype. The same tensor as `a` is multiplied once.

    Returns:
        A scalar, at least 0.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.ops.batch_statistics import off_diagonal_sum_of_squares
    >>> float(off_diagonal_sum_of_squares(ops.ones((2, 3)), ops.ones((2, 3))))  # six times 2 * 2
    24.0
    """
    rows, columns = a.shape
    if rows is None or rows >= columns:
        c = ops.matmul(ops.transpose(a), b)
        return ops.sum(ops.square(c * (1 - ops.eye(columns, dtype=c.dtype))))
    of_a = ops.matmul(a, ops.transpose(a))
    of_b = of_a if b is a else ops.matmul(b, ops.transpose(b))
    diagonal = ops.sum(a * b, axis=0)
    return ops.maximum(ops.sum(of_a * of_b) - ops.sum(ops.square(diagonal)), 0)
