"""Uniform random numbers as hashes of a random integer and a counter."""

from typing import Any

import numpy as np
from keras import ops


def hashed_uniform(numbers: Any, counter: Any) -> Any:
    """Return float32 numbers in [0, 1), multiples of 2^-24: hashes of an integer and a counter.

    Rejection sampling needs an unknown number of random numbers, and a seed generator must not
    advance inside a loop of unknown length on several replicas. So one integer is drawn before the
    loop, and hashed with 0, 1, 2, ..., with the same result on all backends, compiled or not. The
    shapes of the int32 arguments are broadcast.
    """
    numbers, counter = ops.cast(numbers, "uint32"), ops.cast(counter, "uint32")
    bits = _mix(_mix(numbers) + counter * _constant(0x9E3779B9))
    # 24 bits are exact in float32
    return ops.cast(ops.right_shift(bits, _constant(8)), "float32") * 2.0**-24


def _mix(x: Any) -> Any:
    """Mix the bits of 32-bit integers, bijectively: Wellons' "lowbias32"."""
    x = ops.bitwise_xor(x, ops.right_shift(x, _constant(16))) * _constant(0x7FEB352D)
    x = ops.bitwise_xor(x, ops.right_shift(x, _constant(15))) * _constant(0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, _constant(16)))


def _constant(value: int) -> Any:
    return ops.convert_to_tensor(np.uint32(value), "uint32")
