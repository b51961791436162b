"""Checks of the tensors that losses receive, made before Keras casts them."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.ops import at_least_float32


def check_views(z1: Any, z2: Any, names: tuple[str, str] = ("z1", "z2")) -> None:
    """Validate two batches of embeddings whose rows belong together."""
    first, second = names
    for name, z in zip(names, (z1, z2), strict=True):
        if z is None:
            raise ValueError(
                f"The loss compares two views of each example; expected `{first}` and `{second}`, "
                f"both of shape (batch, dim). Received: {name}=None"
            )
        check_embeddings(z, name)
    shapes = [tuple(ops.shape(z)) if not hasattr(z, "shape") else tuple(z.shape) for z in (z1, z2)]
    if not are_compatible(shapes):
        raise ValueError(
            f"`{first}` and `{second}` must have the same shape: row i of both belongs to example "
            f"i. Received: {first}.shape={shapes[0]}, {second}.shape={shapes[1]}"
        )


def check_embeddings(z: Any, name: str) -> None:
    """Validate embeddings `(rows, dim)`."""
    z = _check_rank_two(z, name, "(batch, dim)")
    dtype = keras.backend.standardize_dtype(z.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(
            f"`{name}` must hold floating-point embeddings. Received: {name}.dtype={dtype}"
        )


def check_has_negatives(z1: Any, names: tuple[str, str] = ("z1", "z2")) -> None:
    """Raise if the replicas together hold a single example, which has no negatives."""
    if is_single_example(z1):
        first, second = names
        raise ValueError(
            f"A contrastive loss needs negatives: `{first}` and `{second}` must hold at least 2 "
            f"examples over all replicas. Received: {first}.shape={tuple(z1.shape)}"
        )


def is_single_example(z: Any) -> bool:
    """Whether the batch over all replicas is known to hold fewer than two examples."""
    examples = z.shape[0]
    return examples is not None and examples * distribute.replica_count() < 2


def check_scores(scores: Any, name: str) -> None:
    """Validate scores of at least two prototypes, `(rows, prototypes)`."""
    if scores is None:
        raise ValueError(f"`{name}` must have shape (batch, prototypes). Received: {name}=None")
    scores = _check_rank_two(scores, name, "(batch, prototypes)")
    if scores.shape[1] is not None and scores.shape[1] < 2:
        raise ValueError(
            f"`{name}` must hold scores for at least 2 prototypes: with one, all examples get the "
            f"same assignment. Received: {name}.shape={tuple(scores.shape)}"
        )
    dtype = keras.backend.standardize_dtype(scores.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(f"`{name}` must be floating-point. Received: {name}.dtype={dtype}")


def scores_by_view(scores: Any, name: str) -> list[Any]:
    """Split `(views, batch, prototypes)`, or a list of views, into validated float32 tensors."""
    if not isinstance(scores, (list, tuple)):
        shape = tuple(getattr(scores, "shape", ()))
        if len(shape) != 3 or shape[0] is None:
            raise ValueError(
                f"`{name}` must be a list of views (batch, prototypes), or one tensor (views, "
                f"batch, prototypes). Received: {name} of type {type(scores).__name__}"
                + (f" and shape {shape}" if shape else "")
            )
        scores = [scores[view] for view in range(shape[0])]
    for view, one in enumerate(scores):
        check_scores(one, f"{name}[{view}]")
    return [at_least_float32(one) for one in scores]


def check_same_shape(views: list[Any], names: str) -> None:
    """Raise unless the scores of all views have one shape."""
    shapes = [tuple(view.shape) for view in views]
    if not are_compatible(shapes):
        raise ValueError(
            f"All views of {names} must have one shape (batch, prototypes): row i of each belongs "
            f"to example i. Received shapes: {shapes}"
        )


def are_compatible(shapes: list[tuple]) -> bool:
    """Whether shapes of one rank can be equal; `None` stands for any size."""
    return all(len({*sizes} - {None}) <= 1 for sizes in zip(*shapes, strict=True))


def _check_rank_two(x: Any, name: str, expected: str) -> Any:
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        x = ops.convert_to_tensor(x)
    if len(x.shape) != 2:
        raise ValueError(
            f"`{name}` must have rank 2: {expected}. Received: {name}.shape={tuple(x.shape)}"
        )
    return x
