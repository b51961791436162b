"""Checks of the tensors that losses receive."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute


def check_views(z1: Any, z2: Any, names: tuple[str, str] = ("z1", "z2")) -> None:
    """Validate two batches of embeddings whose rows belong together."""
    first, second = names
    for name, z in zip(names, (z1, z2), strict=True):
        if z is None:
            raise ValueError(
                f"The loss compares two views of each example; expected `{first}` and `{second}`, "
                f"both of shape (batch, dim). Received: {name}=None"
            )
    shapes = [check_matrix(z, name).shape for name, z in zip(names, (z1, z2), strict=True)]
    if not are_compatible(*shapes):
        raise ValueError(
            f"`{first}` and `{second}` must have the same shape: row i of both belongs to example "
            f"i. Received: {first}.shape={tuple(shapes[0])}, {second}.shape={tuple(shapes[1])}"
        )


def check_matrix(x: Any, name: str, axes: str = "(batch, dim)") -> Any:
    """Return floating-point `x` of rank 2 as something with a shape and a dtype."""
    x = check_dtype(x, name)
    if len(x.shape) != 2:
        raise ValueError(
            f"`{name}` must have rank 2: {axes}. Received: {name}.shape={tuple(x.shape)}"
        )
    return x


def check_dtype(x: Any, name: str, kind: str = "floating-point") -> Any:
    """Return `x`, of "floating-point" or "integer" dtype, as something with a shape and a dtype."""
    if x is None:
        raise ValueError(f"`{name}` must be a tensor. Received: {name}=None")
    x = x if hasattr(x, "dtype") and hasattr(x, "shape") else ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    is_float = kind == "floating-point"
    if not (keras.backend.is_float_dtype if is_float else keras.backend.is_int_dtype)(dtype):
        raise TypeError(f"The dtype of `{name}` must be {kind}. Received: {name}.dtype={dtype}")
    return x


def check_has_negatives(z: Any, names: tuple[str, str] = ("z1", "z2")) -> None:
    """Raise if the replicas together hold a single example, which has no negatives."""
    if is_single_example(z):
        first, second = names
        raise ValueError(
            f"A contrastive loss needs negatives: `{first}` and `{second}` must hold at least 2 "
            f"examples over all replicas. Received: {first}.shape={tuple(z.shape)}"
        )


def is_single_example(z: Any) -> bool:
    """Whether the batch over all replicas is known to hold fewer than two examples."""
    examples = z.shape[0]
    return examples is not None and examples * distribute.replica_count() < 2


def are_compatible(*shapes: Any) -> bool:
    """Whether shapes can be equal; `None` stands for any size."""
    same_rank = len({len(shape) for shape in shapes}) == 1
    return same_rank and all(len({*sizes} - {None}) <= 1 for sizes in zip(*shapes, strict=True))
