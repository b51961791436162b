"""Sparse tensors of every backend: whether a tensor is one, and what it holds."""

from typing import Any

import keras


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
