"""Gradients as optimizers need them."""

from typing import Any

from keras import ops


def dense_gradient(gradient: Any, variable: Any) -> Any:
    """Return a gradient in the dtype and the full shape of its variable.

    The gradient of an embedding may be sparse: rows and their indices, which may repeat.
    """
    gradient = ops.cast(gradient, variable.dtype)
    if hasattr(gradient, "indices"):
        return ops.add(ops.zeros(variable.shape, dtype=variable.dtype), gradient)
    return gradient
