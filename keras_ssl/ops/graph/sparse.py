"""Sparse tensors of TensorFlow and JAX: access to their values, and products."""

from typing import Any

import keras
from keras import ops

# Rows times columns of a product above which TensorFlow's compressed sparse rows are faster on a
# CPU: they use all cores, but take a fraction of a millisecond to build.
LARGE = 2**18


def is_sparse(x: Any) -> bool:
    """Whether `x` is a sparse tensor, or a symbolic one."""
    if isinstance(x, keras.KerasTensor):
        return x.sparse
    return hasattr(x, "dense_shape") or (hasattr(x, "indices") and hasattr(x, "data"))


def check_rank(x: Any) -> None:
    """Raise a `ValueError` for a sparse tensor that is no matrix, as a batch of adjacencies."""
    if is_sparse(x) and len(x.shape) != 2:
        raise ValueError(
            "A sparse tensor must be a matrix: an adjacency (nodes, nodes), or features (nodes, "
            "features). For several graphs, pass dense tensors with a batch axis, or their union, "
            "as `data.disjoint_batches` makes it. Received: a sparse tensor of shape "
            f"{tuple(x.shape)}"
        )


def coordinates(x: Any) -> Any:
    """Return the indices of the stored values of a sparse matrix, `(stored, 2)`."""
    return x.indices


def stored_values(x: Any) -> Any:
    """Return the stored values of a sparse matrix, `(stored,)`."""
    return x.values if hasattr(x, "dense_shape") else x.data


def with_values(x: Any, values: Any) -> Any:
    """Return a sparse matrix with other values at the same indices."""
    if hasattr(x, "dense_shape"):
        changed = x.with_values(values)
        changed.set_shape(x.shape)  # TensorFlow loses the static shape inside a function
        return changed
    return type(x)(
        (values, x.indices),
        shape=x.shape,
        indices_sorted=x.indices_sorted,
        unique_indices=x.unique_indices,
    )


def with_places(x: Any, places: Any, values: Any) -> Any:
    """Return a sparse matrix of the shape of `x` with other indices and values."""
    if hasattr(x, "dense_shape"):
        return type(x)(places, values, x.dense_shape)
    return type(x)((values, places), shape=x.shape)


def multiply_features(x: Any, kernel: Any) -> Any:
    """Multiply dense features, or sparse ones `(nodes, features)`, by a kernel; dense result."""
    if is_sparse(x) and len(x.shape) == 2:
        return sparse_product(x, ops.convert_to_tensor(kernel))
    return ops.matmul(x, kernel)


def sparse_product(a: Any, h: Any) -> Any:
    """Multiply a sparse matrix `(n, m)` by a dense one `(m, features)` of the same dtype."""
    if keras.backend.backend() != "tensorflow" or isinstance(a, keras.KerasTensor):
        return portable_product(a, h)
    # decided by static shapes: a traced function always uses the same kernel
    is_large = a.shape[0] is not None and a.shape[0] * (h.shape[1] or 1) >= LARGE
    is_wide = keras.backend.standardize_dtype(h.dtype) in ("float32", "float64")
    return (large_product if is_large and is_wide else small_product)(a, h)


def multiply_nodes(a: Any, h: Any) -> Any:
    """Multiply a sparse matrix `(n, m)` by dense features `(..., m, features)`."""
    if len(h.shape) == 2:
        return sparse_product(a, h)
    h = ops.moveaxis(h, -2, 0)
    columns = ops.reshape(h, (ops.shape(h)[0], -1))
    product = sparse_product(a, columns)
    product = ops.reshape(product, (ops.shape(product)[0], *ops.shape(h)[1:]))
    return ops.moveaxis(product, 0, -2)


def portable_product(a: Any, h: Any) -> Any:
    """The product on any backend."""
    return ops.matmul(a, h)


def small_product(a: Any, h: Any) -> Any:
    """The product on TensorFlow, on one CPU core and with little overhead.

    `keras.ops.matmul` uses an embedding lookup, which is several times slower and materialises the
    gradient of `h` once per stored value.
    """
    import tensorflow as tf

    # TensorFlow forgets the static number of rows, which layers that follow may need
    return tf.ensure_shape(tf.sparse.sparse_dense_matmul(a, h), (a.shape[0], h.shape[1]))


def large_product(a: Any, h: Any) -> Any:
    """The product on TensorFlow by compressed sparse rows, on all cores; float32 and float64.

    The gradient of `h` is a product with the transposed matrix. The gradient of the stored values
    gathers one pair of vectors per value, where TensorFlow's own builds a dense `(n, m)`.
    """
    import tensorflow as tf

    a = _ordered_by_row(a)

    @tf.custom_gradient
    def multiply(values: Any, h: Any) -> tuple[Any, Any]:
        rows = tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=a.indices, values=values, dense_shape=a.dense_shape
        )

        def gradient(upstream: Any) -> tuple[Any, Any]:
            at_row = tf.gather(upstream, a.indices[:, 0])
            at_column = tf.gather(h, a.indices[:, 1])
            return (
                tf.reduce_sum(at_row * at_column, axis=1),
                tf.raw_ops.SparseMatrixMatMul(a=rows, b=upstream, transpose_a=True),
            )

        return tf.raw_ops.SparseMatrixMatMul(a=rows, b=h), gradient

    product = multiply(a.values, h)
    return tf.ensure_shape(product, (a.shape[0], h.shape[1]))


def _ordered_by_row(a: Any) -> Any:
    """Sort the matrix by row unless it is sorted: the conversion to rows does not check it."""
    import tensorflow as tf

    rows = tf.cast(a.indices[:, 0], "int32")
    is_ordered = tf.reduce_all(rows[1:] >= rows[:-1])

    def ordered() -> tuple[Any, Any]:
        sorted_a = tf.sparse.reorder(a)
        return sorted_a.indices, sorted_a.values

    indices, values = tf.cond(is_ordered, lambda: (a.indices, a.values), ordered)
    return tf.SparseTensor(indices, values, a.dense_shape)
