"""What every loss of two views asks of its inputs."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute


def check_views(z1: Any, z2: Any, names: tuple[str, str] = ("z1", "z2")) -> None:
    """Raise unless `z1` and `z2` are two batches of embeddings that belong together.

    Args:
        z1: embeddings of the first views, `(batch, dim)`.
        z2: embeddings of the second views, `(batch, dim)`.
        names: what the caller calls the two.

    Raises:
        ValueError: if a view is missing, is not of rank 2, or the shapes differ.
        TypeError: if a view is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.check_views import check_views
    >>> check_views(np.zeros((4, 8), "float32"), np.zeros((4, 8), "float32"))
    """
    first, second = names
    for name, z in zip(names, (z1, z2), strict=True):
        if z is None:
            raise ValueError(
                f"The loss compares two views of each example; expected `{first}` and `{second}`, "
                f"both of shape (batch, dim). Received: {name}=None"
            )
        check_embeddings(z, name)
    shapes = [tuple(ops.shape(z)) if not hasattr(z, "shape") else tuple(z.shape) for z in (z1, z2)]
    # an unknown size (None) may be any size
    if any(None not in sizes and len(set(sizes)) > 1 for sizes in zip(*shapes, strict=True)):
        raise ValueError(
            f"`{first}` and `{second}` must have the same shape: row i of both belong to example "
            f"i. Received: {first}.shape={shapes[0]}, {second}.shape={shapes[1]}"
        )


def check_embeddings(z: Any, name: str) -> None:
    """Raise unless `z` holds embeddings: `(any number, dim)`, floating-point.

    Args:
        z: tensor, array or what can be made one.
        name: what the caller calls it.

    Raises:
        ValueError: if `z` is not of rank 2.
        TypeError: if it is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.check_views import check_embeddings
    >>> check_embeddings(np.zeros((100, 8), "float32"), "negatives")
    """
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


def check_has_negatives(z1: Any, names: tuple[str, str] = ("z1", "z2")) -> None:
    """Raise if the replicas together hold a single example, which has no negatives.

    Args:
        z1: this replica's embeddings of one view, `(batch, dim)`.
        names: what the caller calls the two views.

    Raises:
        ValueError: if the batch size is known and that of all replicas below 2.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.check_views import check_has_negatives
    >>> check_has_negatives(np.zeros((2, 8), "float32"))
    """
    if is_one_example(z1):
        first, second = names
        raise ValueError(
            f"A contrastive loss needs negatives: `{first}` and `{second}` must hold at least 2 "
            f"examples over all replicas. Received: {first}.shape={tuple(z1.shape)}"
        )


def is_one_example(z: Any) -> bool:
    """Whether the replicas together are known to hold fewer than two examples.

    Args:
        z: this replica's tensor, one row an example.

    Returns:
        A bool; `False` where the batch size is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.check_views import is_one_example
    >>> is_one_example(np.zeros((1, 8), "float32"))
    True
    """
    examples = z.shape[0]
    return examples is not None and examples * distribute.replica_count() < 2
