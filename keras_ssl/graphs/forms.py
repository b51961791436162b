"""An adjacency in canonical form, as edge list and as sparse tensor."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_ssl.graphs.checks import check_finite, check_square


def as_csr(a: Any, name: str = "a") -> Any:
    """Return a copy of an adjacency as CSR: duplicates summed, columns sorted, no stored zeros.

    `a` is scipy.sparse or an array `(n, n)`, or an object with such an `a`, as Spektral's `Graph`.
    float64 stays, anything else becomes float32.
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


def edge_list(a: Any, pad_to: int | None = None) -> dict[str, np.ndarray]:
    """Convert an adjacency to an edge list: senders, receivers and weights.

    Edges are sorted by receiver, then by sender. Padding is appended: edges of weight 0 at node 0,
    which all layers ignore.

    Args:
        a: scipy.sparse or dense array of shape `(n, n)`, or a graph.
        pad_to: number of edges to return, for static shapes; `None` for no padding.

    Returns:
        `{"senders": (edges,) int32, "receivers": (edges,) int32, "weights": (edges,) float32}`.

    Raises:
        ValueError: if there are more than `pad_to` edges, or `a` is not an adjacency.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.edge_list(np.array([[0, 2], [1, 0]]), pad_to=3)
    {'senders': array([1, 0, 0], dtype=int32), 'receivers': array([0, 1, 0], dtype=int32),
     'weights': array([2., 1., 0.], dtype=float32)}
    """
    matrix = as_csr(a).tocoo()
    padding = 0 if pad_to is None else pad_to - matrix.nnz
    if padding < 0:
        raise ValueError(
            f"`pad_to` must be at least the number of edges, {matrix.nnz}. Received: "
            f"pad_to={pad_to}"
        )
    return {
        "senders": np.pad(matrix.col.astype(np.int32), (0, padding)),
        "receivers": np.pad(matrix.row.astype(np.int32), (0, padding)),
        "weights": np.pad(matrix.data.astype(np.float32), (0, padding)),
    }


def sparse_tensor(a: Any) -> Any:
    """Convert a matrix to a sparse tensor of Keras' backend.

    Args:
        a: scipy.sparse or dense array of shape `(rows, columns)`: an adjacency or sparse node
            features; or a graph, whose adjacency is used.

    Returns:
        `tf.SparseTensor` on TensorFlow, `jax.experimental.sparse.BCOO` on JAX; float32, with sorted
        and unique indices.

    Raises:
        ValueError: on a backend without sparse tensors in Keras.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.sparse_tensor(np.array([[0, 2], [1, 0]])).shape == (2, 2)
    True
    """
    indices, values, shape = sparse_parts(a)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.SparseTensor(indices, values, shape)
    if backend == "jax":
        from jax.experimental import sparse as jax_sparse

        return jax_sparse.BCOO(
            (keras.ops.convert_to_tensor(values), indices.astype(np.int32)),
            shape=shape,
            indices_sorted=True,
            unique_indices=True,
        )
    raise ValueError(
        "Sparse tensors need the backend 'tensorflow' or 'jax'; edge lists (`graphs.edge_list`) "
        f"work on all backends. Received: backend {backend!r}"
    )


def sparse_parts(a: Any) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Return sorted unique indices (int64), nonzero values (float32) and shape of a matrix."""
    import scipy.sparse

    if not scipy.sparse.issparse(a) and not isinstance(a, np.ndarray) and hasattr(a, "a"):
        a = a.a
    matrix = scipy.sparse.csr_array(a, dtype=np.float32, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix = matrix.tocoo()
    return np.stack([matrix.row, matrix.col], axis=1).astype(np.int64), matrix.data, matrix.shape
