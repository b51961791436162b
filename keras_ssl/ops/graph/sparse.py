"""Sparse tensors of TensorFlow and JAX: access to their values, and products."""

from typing import Any

import keras
from keras import ops


def is_sparse(x: Any) -> bool:
    """Whether `x` is a sparse tensor of the backend, or stands for one in a functional model."""
    if isinstance(x, keras.KerasTensor):
        return x.sparse
    return hasattr(x, "dense_shape") or (hasattr(x, "indices") and hasattr(x, "data"))


def coordinates(x: Any) -> Any:
    """Return the places of the stored values of a sparse matrix, `(stored, 2)`."""
    return x.indices


def stored_values(x: Any) -> Any:
    """Return the stored values of a sparse matrix, `(stored,)`."""
    return x.values if hasattr(x, "dense_shape") else x.data


def with_values(x: Any, values: Any) -> Any:
    """Return a sparse matrix with other values at the same places."""
    if hasattr(x, "dense_shape"):
        changed = x.with_values(values)
        changed.set_shape(x.shape)  # which TensorFlow forgets inside of a function
        return changed
    return type(x)(
        (values, x.indices),
        shape=x.shape,
        indices_sorted=x.indices_sorted,
        unique_indices=x.unique_indices,
    )


def with_places(x: Any, places: Any, values: Any) -> Any:
    """Return a sparse matrix of the shape of another, with other values at other places."""
    if hasattr(x, "dense_shape"):
        return type(x)(places, values, x.dense_shape)
    return type(x)((values, places), shape=x.shape)


# Rows times columns of a result from which on TensorFlow's compressed rows pay on a CPU: they
# use all cores, but take a fraction of a millisecond to be made.
LARGE = 2**18


def multiply_features(x: Any, kernel: Any) -> Any:
    """Multiply features with a kernel; sparse features of shape `(nodes, features)` stay sparse.

    Args:
        x: features, dense or sparse.
        kernel: weight of shape `(features, channels)`.

    Returns:
        A dense tensor of shape `(..., nodes, channels)`.
    """
    if is_sparse(x) and len(x.shape) == 2:
        return sparse_product(x, ops.convert_to_tensor(kernel))
    return ops.matmul(x, kernel)


def sparse_product(a: Any, h: Any) -> Any:
    """Multiply a sparse matrix with a dense one.

    Args:
        a: sparse tensor of shape `(n, m)`, its stored values in any order.
        h: dense tensor of shape `(m, features)`, of the type of `a`.

    Returns:
        A dense tensor of shape `(n, features)`.
    """
    if keras.backend.backend() != "tensorflow" or isinstance(a, keras.KerasTensor):
        return portable_product(a, h)
    # decided by what is known when the function is traced, so that one kernel is chosen for good
    is_large = a.shape[0] is not None and a.shape[0] * (h.shape[1] or 1) >= LARGE
    is_wide = keras.backend.standardize_dtype(h.dtype) in ("float32", "float64")
    return (large_product if is_large and is_wide else small_product)(a, h)


def multiply_nodes(a: Any, h: Any) -> Any:
    """Multiply a sparse matrix `(n, m)` with the nodes of one graph or of several.

    Args:
        a: sparse tensor of shape `(n, m)`.
        h: dense tensor of shape `(..., m, features)`.

    Returns:
        A dense tensor of shape `(..., n, features)`.
    """
    if len(h.shape) == 2:
        return sparse_product(a, h)
    h = ops.moveaxis(h, -2, 0)
    columns = ops.reshape(h, (ops.shape(h)[0], -1))
    product = sparse_product(a, columns)
    product = ops.reshape(product, (ops.shape(product)[0], *ops.shape(h)[1:]))
    return ops.moveaxis(product, 0, -2)


def portable_product(a: Any, h: Any) -> Any:
    """Multiply on any backend."""
    return ops.matmul(a, h)


def small_product(a: Any, h: Any) -> Any:
    """Multiply on TensorFlow, on one core of a CPU, at hardly any cost but the products.

    `keras.ops.matmul` goes by an embedding lookup instead, which takes several times as long and
    lays out the gradient of `h` once for each stored value.
    """
    import tensorflow as tf

    return tf.sparse.sparse_dense_matmul(a, h)


def large_product(a: Any, h: Any) -> Any:
    """Multiply on TensorFlow by compressed rows, on all cores.

    For float32 and float64. The gradient of `h` is the product with the transposed matrix. That of
    the stored values, where it is asked for, gathers the two vectors at each; TensorFlow's own lays
    out a dense `(n, m)`.
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
    """Return the matrix ordered by row: of others, compressed rows would be wrong in silence."""
    import tensorflow as tf

    rows = tf.cast(a.indices[:, 0], "int32")
    is_ordered = tf.reduce_all(rows[1:] >= rows[:-1])

    def ordered() -> tuple[Any, Any]:
        sorted_a = tf.sparse.reorder(a)
        return sorted_a.indices, sorted_a.values

    indices, values = tf.cond(is_ordered, lambda: (a.indices, a.values), ordered)
    return tf.SparseTensor(indices, values, a.dense_shape)
