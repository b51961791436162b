"""What every loss of two views asks of its inputs."""

from typing import Any

import keras
from keras import ops


def check_views(z1: Any, z2: Any) -> None:
    """Raise unless `z1` and `z2` are two batches of embeddings that belong together.

    Args:
        z1: embeddings of the first views, `(batch, dim)`.
        z2: embeddings of the second views, `(batch, dim)`.

    Raises:
        ValueError: if a view is missing, is not of rank 2, or the shapes differ.
        TypeError: if a view is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.check_views import check_views
    >>> check_views(np.zeros((4, 8), "float32"), np.zeros((4, 8), "float32"))
    """
    shapes = []
    for name, z in (("z1", z1), ("z2", z2)):
        if z is None:
            raise ValueError(
                "The loss compares two views of each example; expected `z1` and `z2`, both of "
                f"shape (batch, dim). Received: {name}=None"
            )
        if not hasattr(z, "dtype") or not hasattr(z, "shape"):
            z = ops.convert_to_tensor(z)
        if len(z.shape) != 2:
            raise ValueError(
                f"`{name}` must have rank 2: (batch, dim). Received: {name}.shape={tuple(z.shape)}"
            )
        dtype = keras.backend.standardize_dtype(z.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise TypeError(
                f"`{name}` must hold floating-point embeddings. Received: {name}.dtype={dtype}"
            )
        shapes.append(tuple(z.shape))
    # an unknown size (None) may be any size
    if any(None not in sizes and len(set(sizes)) > 1 for sizes in zip(*shapes, strict=True)):
        raise ValueError(
            "`z1` and `z2` must have the same shape: row i of both are views of example i. "
            f"Received: z1.shape={shapes[0]}, z2.shape={shapes[1]}"
        )
