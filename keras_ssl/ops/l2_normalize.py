"""Scaling of vectors to unit length that neither overflows nor divides by zero."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl.ops.precision import at_least_float32


def l2_normalize(z: Any) -> Any:
    """Scale vectors along the last axis to unit length: `z / ||z||`.

    `keras.ops.normalize` overflows where a squared entry leaves the range of the dtype, and its
    gradient at a zero vector is NaN. Here vectors are first divided by their largest entry, so
    that every finite vector has a finite norm. A zero vector stays zero and gets a zero gradient,
    as does a vector whose entries are all below the smallest normal number (about 1e-38 in
    float32).

    Args:
        z: floating-point tensor of rank 1 or more.

    Returns:
        Tensor of the shape of `z`. float16 and bfloat16 are computed and returned as float32.

    Example:

    >>> from keras_ssl.ops import l2_normalize
    >>> [round(float(x), 3) for x in l2_normalize([3e30, 4e30])]
    [0.6, 0.8]
    >>> [float(x) for x in l2_normalize([0.0, 0.0])]
    [0.0, 0.0]
    """
    # XLA divides by multiplying with the inverse, and that of the largest floats is flushed to 0
    z = at_least_float32(z) * 0.25
    # the result does not depend on this scale, so no gradient needs to flow through it
    scale = ops.stop_gradient(ops.max(ops.abs(z), axis=-1, keepdims=True))
    is_zero = scale < float(np.finfo(keras.backend.standardize_dtype(z.dtype)).tiny)
    z = z / ops.where(is_zero, ops.ones_like(scale), scale)
    squares = ops.sum(ops.square(z), axis=-1, keepdims=True)
    # the inner `where` keeps rsqrt away from 0, the outer one stops the gradient there
    inverse_norm = ops.rsqrt(ops.where(is_zero, ops.ones_like(squares), squares))
    return ops.where(is_zero, ops.zeros_like(z), z * inverse_norm)
