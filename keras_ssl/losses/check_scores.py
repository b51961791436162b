"""What the losses over prototypes ask of the scores of views."""

from typing import Any

import keras
from keras import ops


def check_scores(scores: Any, name: str) -> None:
    """Raise unless `scores` holds each example's score for each of at least two prototypes.

    Args:
        scores: tensor or array, `(any number, prototypes)`.
        name: what the caller calls it.

    Raises:
        ValueError: if `scores` is `None`, not of rank 2, or has fewer than two columns.
        TypeError: if it is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.check_scores import check_scores
    >>> check_scores(np.zeros((4, 10), "float32"), "scores")
    """
    if scores is None:
        raise ValueError(f"`{name}` must have shape (batch, prototypes). Received: {name}=None")
    if not hasattr(scores, "dtype") or not hasattr(scores, "shape"):
        scores = ops.convert_to_tensor(scores)
    shape = tuple(scores.shape)
    if len(shape) != 2:
        raise ValueError(
            f"`{name}` must have rank 2: (batch, prototypes). Received: {name}.shape={shape}"
        )
    if shape[1] is not None and shape[1] < 2:
        raise ValueError(
            f"`{name}` must hold scores for at least 2 prototypes: one takes every example. "
            f"Received: {name}.shape={shape}"
        )
    dtype = keras.backend.standardize_dtype(scores.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(f"`{name}` must be floating-point. Received: {name}.dtype={dtype}")


def views_of(scores: Any, name: str) -> list[Any]:
    """The scores of each view, checked.

    Args:
        scores: list or tuple of `(batch, prototypes)`, or one tensor
            `(views, batch, prototypes)`.
        name: what the caller calls them.

    Returns:
        List of tensors `(batch, prototypes)`; float16 and bfloat16 become float32.

    Raises:
        ValueError: if there is no view, or what `check_scores` raises for one.
        TypeError: if a view is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.check_scores import views_of
    >>> len(views_of(np.zeros((2, 4, 10), "float32"), "scores"))
    2
    """
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
    return [in_float32(one) for one in scores]


def check_same_shape(views: list[Any], names: str) -> None:
    """Raise unless the scores of all views have one shape.

    Args:
        views: tensors `(batch, prototypes)`.
        names: what the caller calls them.

    Raises:
        ValueError: if two shapes differ.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.check_scores import check_same_shape
    >>> check_same_shape([np.zeros((4, 10)), np.zeros((4, 10))], "`global_scores`")
    """
    shapes = [tuple(view.shape) for view in views]
    # an unknown size (None) may be any size
    if any(
        len({size for size in sizes if size is not None}) > 1 for sizes in zip(*shapes, strict=True)
    ):
        raise ValueError(
            f"All views of {names} must have one shape (batch, prototypes): row i of each belongs "
            f"to example i. Received shapes: {shapes}"
        )


def in_float32(scores: Any) -> Any:
    """The same as a tensor of at least float32.

    Args:
        scores: floating-point tensor or array.

    Returns:
        Tensor; float16 and bfloat16 become float32.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.check_scores import in_float32
    >>> in_float32(np.ones((2, 3), "float16")).dtype.name
    'float32'
    """
    scores = ops.convert_to_tensor(scores)
    return ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
