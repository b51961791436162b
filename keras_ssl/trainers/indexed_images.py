"""Images that come with their place in the data set."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops


def images_of(x: Any) -> Any:
    """The images of a batch that may hold indices besides.

    Args:
        x: `{"image": images, "index": indices}`, or images.

    Returns:
        The images.
    """
    return x["image"] if isinstance(x, dict) and "image" in x else x


def indices_of(x: Any, size: int) -> Any:
    """The indices of a batch, checked.

    Args:
        x: `{"image": images, "index": indices}`.
        size: how many images the data set holds.

    Returns:
        int32 tensor `(batch,)`. Where TensorFlow runs a step without XLA, the step fails if one is
        out of range.

    Raises:
        ValueError: if `x` has no indices.
        TypeError: if they are not one integer an image.
    """
    if not isinstance(x, dict) or not {"image", "index"} <= set(x):
        found = keras.tree.map_structure(
            lambda one: f"{keras.backend.standardize_dtype(one.dtype)}{tuple(one.shape)}", x
        )
        raise ValueError(
            'Expected `x` to be {"image": images, "index": indices}, with the index of each image '
            "in the data set; `keras_ssl.data.with_index` puts it there. "
            f"Received: x={found}"
        )
    index = x["index"]
    dtype = keras.backend.standardize_dtype(index.dtype)
    if not keras.backend.is_int_dtype(dtype) or len(index.shape) != 1:
        raise TypeError(
            "`index` must hold one integer an image, of shape (batch,). "
            f"Received: {dtype} of shape {tuple(index.shape)}"
        )
    return assert_in_range(index, size, _out_of_range(size, "another index"))


def assert_in_range(index: Any, size: int, message: str) -> Any:
    """The same indices, whose step fails if one is out of range, where XLA does not run it.

    Args:
        index: integers.
        size: the first integer that is too large.
        message: what the error says.

    Returns:
        int32 tensor.
    """
    index = ops.cast(index, "int32")
    if not tf.is_tensor(index):
        return index
    inside = tf.reduce_all((index >= 0) & (index < size))
    check = tf.debugging.Assert(inside, [message, index])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(index)


def check_indices_of_arrays(x: Any, size: int) -> None:
    """Raise if arrays hold an index out of range.

    Args:
        x: what `fit` got; anything but a dictionary with a NumPy array of indices is passed over.
        size: how many images the data set holds.

    Raises:
        ValueError: if an index is below 0 or not below `size`.
    """
    index = x.get("index") if isinstance(x, dict) else None
    if isinstance(index, np.ndarray) and index.size and index.dtype.kind in "iu":
        low, high = index.min(), index.max()
        if low < 0 or high >= size:
            raise ValueError(_out_of_range(size, f"indices from {low} to {high}"))


def _out_of_range(size: int, found: str) -> str:
    return (
        f"Indices must be from 0 to {size - 1}: `bank` holds one entry for each image of the data "
        f"set. Received: size={size} and {found}"
    )
