"""Computation in full precision under mixed-precision policies."""

from typing import Any

import keras
from keras import ops


def at_least_float32(x: Any) -> Any:
    """Cast float16, bfloat16 and integers to float32; float64 stays.

    Args:
        x: tensor, array or number.

    Returns:
        Tensor of the shape of `x`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops import at_least_float32
    >>> at_least_float32(np.ones((2, 3), "float16")).dtype.name
    'float32'
    """
    x = ops.convert_to_tensor(x)
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
