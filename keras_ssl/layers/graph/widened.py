"""Numbers of half precision in single precision."""

from typing import Any

import keras
from keras import ops


def widened(x: Any) -> Any:
    """Return a tensor in float32 or better.

    Sums over many nodes or edges are taken in it: in half precision they stand still at some
    hundreds or leave its range.

    Args:
        x: tensor of any dtype.

    Returns:
        float64 of float64, otherwise float32.
    """
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
