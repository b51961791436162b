"""Errors of what a decoder returns, and checks of it."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops import at_least_float32
from keras_ssl.trainers.checks import describe


def keras_loss(loss: Any) -> Any:
    """Return a Keras loss, or the function that its name stands for."""
    found = keras.losses.get(loss)
    if not callable(found):
        raise TypeError(f"`loss` must be a Keras loss or its name. Received: loss={loss!r}")
    return found


def reconstruction_errors(loss: Any, x: Any, output: Any) -> Any:
    """Return the mean loss of the entries of each example, added over the tensors of a structure.

    Args:
        loss: a Keras loss, or a function of true and predicted values.
        x: data, a structure of tensors.
        output: what the decoder returned for it.

    Returns:
        float32 tensor `(batch,)`.
    """
    check_same_structure(x, output)
    pairs = zip(keras.tree.flatten(x), keras.tree.flatten(output), strict=True)
    return sum(_errors(loss, *pair) for pair in pairs)


def _errors(loss: Any, x: Any, output: Any) -> Any:
    if keras.backend.is_float_dtype(x.dtype):  # of integers, a decoder may return logits
        check_shapes(x, output)
        x = at_least_float32(x)
    # the values of a `keras.losses.Loss` before the reduction
    values = getattr(loss, "call", loss)(x, at_least_float32(output))
    axes = tuple(range(1, len(values.shape)))
    return ops.cast(ops.mean(values, axis=axes) if axes else values, "float32")


def check_same_structure(x: Any, output: Any, part: str = "decoder") -> None:
    """Raise a `ValueError` unless a network, `part`, returned tensors in the data's structure."""
    paths, found = ([path for path, _ in keras.tree.flatten_with_path(one)] for one in (x, output))
    if paths != found:
        raise ValueError(
            f"`{part}` must return tensors in the structure of the data. "
            f"Received: {describe(output)} for data {describe(x)}"
        )


def check_shapes(x: Any, output: Any, part: str = "decoder") -> None:
    """Raise a `ValueError` unless a network, `part`, returned the shape of the data."""
    shape = getattr(output, "shape", ())
    pairs = zip(shape[1:], x.shape[1:], strict=False)
    if len(shape) != len(x.shape) or any(None not in pair and len({*pair}) > 1 for pair in pairs):
        raise ValueError(
            f"`{part}` must return the shape of the data. Expected (batch, "
            f"{', '.join(map(str, x.shape[1:]))}). Received: {describe(output)}"
        )
