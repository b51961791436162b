"""Checks and dtypes of the tensors that augmentation layers receive."""

from typing import Any

import keras
import numpy as np
from keras import ops


def check_tensor(layer: Any, x: Any, expected: str, ranks: tuple[int, ...] | None = None) -> None:
    """Raise unless `x` is a tensor of real numbers, of one of the given ranks.

    `expected` describes the input: "images of shape (batch, height, width, channels)".
    """
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise TypeError(
            f"Layer '{layer.name}' expects one tensor of {expected}. To augment one part of a "
            "dictionary or tuple, use `augment.OnKey(key, layer)`. "
            f"Received: {type(x).__name__}"
        )
    if ranks is not None and len(x.shape) not in ranks:
        raise ValueError(
            f"Layer '{layer.name}' expects {expected}. Received: shape {tuple(x.shape)}"
        )
    dtype = getattr(x.dtype, "name", str(x.dtype))
    if not dtype.startswith(("int", "uint", "float", "bfloat")):
        raise TypeError(
            f"Layer '{layer.name}' expects {expected}, of an integer or floating-point dtype. "
            f"Received: dtype {dtype}"
        )


def float_dtypes(x: Any) -> tuple[str, str]:
    """The dtypes to compute in and to return: at least float32, and that of `x` if floating."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    returned = dtype if keras.backend.is_float_dtype(dtype) else "float32"
    return keras.backend.result_type(returned, "float32"), returned


def fill_where(layer: Any, mask: Any, x: Any, fill: float) -> Any:
    """Replace the masked values of `x` by a number, in the dtype of `x`."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    if keras.backend.is_int_dtype(dtype):
        limits = np.iinfo(dtype)
        if not (float(fill).is_integer() and limits.min <= fill <= limits.max):
            raise ValueError(
                f"Layer '{layer.name}' cannot write `fill` into integers of dtype {dtype}. Cast "
                f"the inputs to float32, or pass another `fill`. Received: fill={fill}"
            )
    return ops.where(mask, ops.cast(fill, x.dtype), x)
