"""As many random numbers as a loop turns out to need, from one that is drawn before it."""

from typing import Any

import numpy as np
from keras import ops


def hashed_uniform(numbers: Any, counter: Any) -> Any:
    """Uniform numbers, each a function of a random integer and a counter.

    Rejection takes as many numbers as it takes, and a seed generator cannot move in a loop of
    unknown length under several replicas. So one integer is drawn before the loop, and its numbers
    are hashes of the integer with 0, 1, 2, ...: the same on every backend, compiled or not.

    Args:
        numbers: random integers of any shape, int32.
        counter: integers of a shape that broadcasts with that of `numbers`, int32.

    Returns:
        float32 tensor of numbers in [0, 1), multiples of 2^-24.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.graphs._hashed_uniform import hashed_uniform
    >>> uniform = hashed_uniform(np.array([[7], [8]]), np.arange(1000)).numpy()
    >>> uniform.shape, round(float(uniform.mean()), 1), round(float(12 * uniform.var()), 1)
    ((2, 1000), 0.5, 1.0)
    """
    numbers, counter = ops.cast(numbers, "uint32"), ops.cast(counter, "uint32")
    bits = _mix(_mix(numbers) + counter * _constant(0x9E3779B9))
    # 24 bits are exact in float32
    return ops.cast(ops.right_shift(bits, _constant(8)), "float32") * 2.0**-24


def _mix(x: Any) -> Any:
    """The bits of 32-bit numbers, mixed: Wellons' "lowbias32". No two become one."""
    x = ops.bitwise_xor(x, ops.right_shift(x, _constant(16))) * _constant(0x7FEB352D)
    x = ops.bitwise_xor(x, ops.right_shift(x, _constant(15))) * _constant(0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, _constant(16)))


def _constant(value: int) -> Any:
    return ops.convert_to_tensor(np.uint32(value), "uint32")
