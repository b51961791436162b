"""The adjacency matrix that every function of this room computes from: canonical CSR."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_ssl.graphs.checks import check_finite, check_square


def as_csr(a: Any, name: str = "a") -> Any:
    """Return an adjacency as CSR: duplicates summed, columns ascending, no stored zeros.

    Args:
        a: scipy.sparse, or a dense array, of shape `(n, n)`; or anything with such an `a`
            (`Graph`, Spektral's `Graph`).
        name: how errors call it.

    Returns:
        `scipy.sparse.csr_array`, float64 if `a` is float64, otherwise float32. The argument is
        not changed.

    Raises:
        TypeError: if `a` is none of these.
        ValueError: if it is not a square matrix of finite numbers, or an index is out of range.
    """
    import scipy.sparse

    if not scipy.sparse.issparse(a) and not isinstance(a, np.ndarray) and hasattr(a, "a"):
        a = a.a
    if not scipy.sparse.issparse(a):
        dense = np.asarray(a)
        if dense.dtype.kind not in "biuf":
            raise TypeError(
                f"`{name}` must be scipy.sparse, an array of numbers or a graph. Received: "
                f"{a!r} of type {type(a)}"
            )
        a = dense
    elif a.dtype.kind not in "biuf":
        raise TypeError(f"`{name}` must hold real numbers. Received: values of dtype {a.dtype}")
    check_square(a, name)
    if len(a.shape) != 2:
        raise ValueError(f"`{name}` must be one matrix (n, n). Received: {name}.shape={a.shape}")
    dtype = np.float64 if a.dtype == np.float64 else np.float32
    matrix = scipy.sparse.csr_array(a, dtype=dtype, copy=True)
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(
            f"`{name}` has edges out of range: {error}. Received: {name}.shape={a.shape}"
        ) from error
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    check_finite(matrix, name)
    return matrix
