"""Batches that hold the index of each example in the data set."""

from typing import Any

import keras
import numpy as np

from keras_ssl.trainers.checks import describe
from keras_ssl.trainers.engine.assertions import assert_in_range


def without_index(x: Any) -> Any:
    """Return a batch without its entry `"index"`: the one other entry, or several as a `dict`."""
    if not isinstance(x, dict) or "index" not in x:
        return x
    others = {name: value for name, value in x.items() if name != "index"}
    return next(iter(others.values())) if len(others) == 1 else others


def indices_of(x: Any, size: int) -> Any:
    """Return the indices of a batch, int32 of shape `(batch,)`, or raise if there are none.

    Without XLA, a step fails if an index is not below `size`, the number of examples of the data.
    """
    if not isinstance(x, dict) or "index" not in x or len(x) < 2:
        raise ValueError(
            'Expected `x` to be a dictionary such as {"image": images, "index": indices}, with the '
            "index of each example in the data set, as from `keras_ssl.data.with_index`. "
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
    """Raise a `ValueError` if `x`, as passed to `fit`, holds a NumPy array with a bad index."""
    index = x.get("index") if isinstance(x, dict) else None
    if isinstance(index, np.ndarray) and index.size and index.dtype.kind in "iu":
        low, high = index.min(), index.max()
        if low < 0 or high >= size:
            raise ValueError(_out_of_range(size, f"indices from {low} to {high}"))


def _out_of_range(size: int, found: str) -> str:
    return (
        f"Indices must be from 0 to {size - 1}: `bank` must have one entry per example of the data "
        f"set. Received: size={size} and {found}"
    )
