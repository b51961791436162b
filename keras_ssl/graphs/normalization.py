"""Normalized adjacency and features."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_ssl.graphs.checks import check_finite
from keras_ssl.graphs.forms import as_csr


def normalized_adjacency(a: Any, self_loops: bool = True) -> Any:
    r"""Return the symmetrically normalized adjacency of GCN.

    $$ \hat A = D^{-1/2} (A + I) D^{-1/2}, \qquad D_{ii} = \sum_j (A + I)_{ij} $$

    A node that already has a self-loop keeps its weight and gets none from `I`. In a directed graph
    degrees are in-degrees. Nodes of degree 0, possible with `self_loops=False`, get zeros.

    Args:
        a: scipy.sparse of shape `(n, n)`, array of shape `(n, n)` or `(batch, n, n)`, or a `Graph`.
        self_loops: whether nodes without a self-loop get one of weight 1.

    Returns:
        An array if `a` is one, otherwise `scipy.sparse.csr_array`. Float64 if `a` is, otherwise
        float32.

    Raises:
        TypeError: if `a` does not hold numbers.
        ValueError: if `a` is not an adjacency, or a degree is negative.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.normalized_adjacency(np.array([[0, 1], [1, 0]]))
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)

    Reference:
        - [Kipf & Welling, 2016](https://arxiv.org/abs/1609.02907)
    """
    import scipy.sparse

    if len(getattr(a, "shape", ())) == 3:
        return np.stack([normalized_adjacency(one, self_loops) for one in a])
    matrix = as_csr(a)
    dtype, matrix = matrix.dtype, matrix.astype(np.float64)
    if self_loops:
        loops = (matrix.diagonal() == 0).astype(np.float64)
        matrix = scipy.sparse.csr_array(matrix + scipy.sparse.diags_array(loops))
    scale = _inverse_root(matrix.sum(axis=1))
    matrix.data *= np.repeat(scale, np.diff(matrix.indptr)) * scale[matrix.indices]
    matrix.sort_indices()
    return in_form_of(a, matrix.astype(dtype))


def row_normalize(x: Any) -> Any:
    """Divide each row by the sum of its absolute values; rows of zeros do not change.

    Args:
        x: scipy.sparse or array of shape `(n, features)`.

    Returns:
        `scipy.sparse.csr_array` if `x` is scipy.sparse, otherwise an array. Float64 if `x` is,
        otherwise float32.

    Raises:
        ValueError: if `x` is not a matrix of finite numbers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.row_normalize(np.array([[1, 3], [0, 0]]))
    array([[0.25, 0.75],
           [0.  , 0.  ]], dtype=float32)
    """
    import scipy.sparse

    sparse = scipy.sparse.issparse(x)
    x = x if sparse else np.asarray(x)
    if len(x.shape) != 2:
        raise ValueError(f"`x` must have shape (n, features). Received: x.shape={x.shape}")
    check_finite(x, "x")
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    x = scipy.sparse.csr_array(x, dtype=dtype) if sparse else x.astype(dtype)
    sums = np.asarray(abs(x).sum(axis=1))
    factors = (1 / np.where(sums > 0, sums, 1)).astype(dtype)
    if sparse:
        return scipy.sparse.csr_array(scipy.sparse.diags_array(factors) @ x)
    return x * factors[:, None]


def in_form_of(a: Any, matrix: Any) -> Any:
    """Convert a sparse matrix computed from `a` to an array if `a` is an array or nested lists."""
    import scipy.sparse

    return matrix if scipy.sparse.issparse(a) or hasattr(a, "a") else matrix.toarray()


def _inverse_root(degree: np.ndarray) -> np.ndarray:
    """D^(-1/2), and 0 for degrees of 0."""
    if (degree < 0).any():
        raise ValueError(
            f"`a` must not have negative degrees. Received: a degree of {degree.min()}"
        )
    return np.where(degree > 0, 1 / np.sqrt(np.where(degree > 0, degree, 1)), 0)
