"""Data in which every example comes with its index in the data set."""

from typing import Any

import keras
import numpy as np

from keras_ssl.trainers.checks import describe
from keras_ssl.trainers.engine.assertions import assert_in_range


def without_index(x: Any) -> Any:
    """Return a batch without the indices of its examples.

    Args:
        x: dictionary with an entry `"index"`, or a batch without.

    Returns:
        The other entry of the dictionary; several others as a dictionary.
    """
    if not isinstance(x, dict) or "index" not in x:
        return x
    others = {name: value for name, value in x.items() if name != "index"}
    return next(iter(others.values())) if len(others) == 1 else others


def indices_of(x: Any, size: int) -> Any:
    """Return the indices of a batch as int32, shape `(batch,)`.

    Args:
        x: dictionary with an entry `"index"`, such as `{"image": images, "index": indices}`.
        size: how many examples the data set holds. A step fails if an index is not below it,
            unless XLA runs it.

    Raises:
        ValueError: if `x` has no indices.
        TypeError: if they are not one integer per example.
    """
    if not isinstance(x, dict) or "index" not in x or len(x) < 2:
        raise ValueError(
            'Expected `x` to be {"image": images, "index": indices}, with the index of each '
            "example in the data set; `keras_ssl.data.with_index` puts it there. "
            f"Received: x={describe(x)}"
        )
    index = x["index"]
    dtype = keras.backend.standardize_dtype(index.dtype)
    if not keras.backend.is_int_dtype(dtype) or len(index.shape) != 1:
        raise TypeError(
            "`index` must hold one integer per example, of shape (batch,). "
            f"Received: {dtype} of shape {tuple(index.shape)}"
        )
    return assert_in_range(index, size, _out_of_range(size, "another index"))


def check_indices_of_arrays(x: Any, size: int) -> None:
    """Raise a `ValueError` if arrays hold an index out of range.

    Args:
        x: what `fit` got; anything but a dictionary with a NumPy array of indices is passed over.
        size: how many examples the data set holds.
    """
    index = x.get("index") if isinstance(x, dict) else None
    if isinstance(index, np.ndarray) and index.size and index.dtype.kind in "iu":
        low, high = index.min(), index.max()
        if low < 0 or high >= size:
            raise ValueError(_out_of_range(size, f"indices from {low} to {high}"))


def _out_of_range(size: int, found: str) -> str:
    return (
        f"Indices must be from 0 to {size - 1}: `bank` holds one entry for each example of the "
        f"data set. Received: size={size} and {found}"
    )
