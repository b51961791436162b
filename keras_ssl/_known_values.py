"""The values of tensors where they are known: outside of compiled functions."""

from typing import Any

import keras
import numpy as np
from keras import ops


def known_values(x: Any) -> np.ndarray | None:
    """Return the values of a tensor, or `None` while a function is traced.

    Args:
        x: tensor, array, or `keras.KerasTensor`.
    """
    if isinstance(x, keras.KerasTensor):
        return None
    if isinstance(x, np.ndarray):
        return x
    if keras.backend.backend() == "tensorflow":
        return x.numpy() if hasattr(x, "numpy") else None
    if keras.backend.backend() == "jax":
        import jax

        return None if isinstance(x, jax.core.Tracer) else np.asarray(x)
    return ops.convert_to_numpy(x)


def check_range(name: str, x: Any, count: int, of: str) -> None:
    """Raise a `ValueError` unless integers lie in [0, count), where their values are known.

    In a compiled step they are not: there TensorFlow on a CPU raises an error of its own.

    Args:
        name: name of the argument.
        x: integers.
        count: how many values there are.
        of: what they are the numbers of.
    """
    values = known_values(x)
    if values is None or not values.size:
        return
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= count:
        raise ValueError(
            f"`{name}` must be from 0 to {count - 1}, the size of {of} minus 1. "
            f"Received: values from {low} to {high}"
        )
