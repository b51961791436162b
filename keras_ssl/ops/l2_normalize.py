"""Vectors of length one, also from zeros and from huge numbers."""

from typing import Any

import keras
import numpy as np
from keras import ops


def l2_normalize(z: Any) -> Any:
    """Scale each row to length one: `z / ||z||` along the last axis.

    `keras.ops.normalize` overflows where a squared entry leaves the dtype's range, and its gradient
    at a zero vector is not a number. Here rows are first divided by their largest entry, which
    does not change their direction, so that every finite row has a finite length. A zero
    vector has no direction: it stays zero and receives a zero gradient, as does a row whose
    entries are all below the smallest normal number (about 1e-38 in float32).

    Args:
        z: floating-point tensor of rank 1 or more.

    Returns:
        Tensor of the shape of `z`. float16 and bfloat16 are computed and returned as float32.

    Example:

    >>> from keras_ssl.ops.l2_normalize import l2_normalize
    >>> [round(float(x), 3) for x in l2_normalize([3e30, 4e30])]
    [0.6, 0.8]
    >>> [float(x) for x in l2_normalize([0.0, 0.0])]
    [0.0, 0.0]
    """
    z = ops.convert_to_tensor(z)
    z = ops.cast(z, keras.backend.result_type(z.dtype, "float32"))
    # XLA divides by multiplying with the inverse, and that of the largest floats is flushed to 0
    z = z * 0.25
    # the result does not depend on this scale, so the gradient need not flow through it
    scale = ops.stop_gradient(ops.max(ops.abs(z), axis=-1, keepdims=True))
    smallest = float(np.finfo(keras.backend.standardize_dtype(z.dtype)).tiny)
    is_zero = scale < smallest
    z = z / ops.where(is_zero, ops.ones_like(scale), scale)
    squares = ops.sum(ops.square(z), axis=-1, keepdims=True)
    # the inner `where` keeps rsqrt away from 0, the outer one stops the gradient there
    inverse_norm = ops.rsqrt(ops.where(is_zero, ops.ones_like(squares), squares))
    return ops.where(is_zero, ops.zeros_like(z), z * inverse_norm)
