"""Labels as evaluation takes them: classes, several labels at once, or numbers."""

from typing import Any

import numpy as np


def class_labels(labels: Any, name: str) -> np.ndarray:
    """Return integers or strings of shape `(n,)` or `(n, 1)` as a NumPy vector, or raise.

    The integer -1 means that an example has no label; see `is_labelled`. Any other is a class.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind in "OS":  # as TensorFlow and pandas hold strings
        flat = [_as_text(one) for one in labels.ravel()]
        if all(isinstance(one, str) for one in flat):
            labels = np.asarray(flat).reshape(labels.shape)
    if labels.dtype.kind not in "iuU":
        raise TypeError(
            f"The labels in `{name}` must be integers, the index of each example's class, or "
            f"strings. Received: dtype {labels.dtype}"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"The labels in `{name}` must have shape (examples,). For one-hot labels, pass "
            f"`argmax(labels, axis=-1)`. Received: shape {labels.shape}"
        )
    return labels


def integer_labels(labels: Any, name: str) -> np.ndarray:
    """Return integers of shape `(n,)` or `(n, 1)` as a NumPy vector, or raise."""
    labels = class_labels(labels, name)
    if labels.dtype.kind == "U":
        raise TypeError(
            f"The labels in `{name}` must be integers. Number strings by "
            "`np.unique(labels, return_inverse=True)[1]`. Received: strings such as "
            f"{labels[0]!r}"
        )
    return labels


def multi_labels(labels: Any, name: str) -> np.ndarray:
    """Return an int matrix of zeros, ones, and -1 for what is not known, or raise."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iubf" or labels.ndim != 2:
        raise ValueError(
            f"The labels in `{name}` must have shape (examples, labels), with 0 or 1 for each "
            f"label. Received: dtype {labels.dtype} and shape {labels.shape}"
        )
    if not np.isin(labels, (-1, 0, 1)).all():
        wrong = labels[~np.isin(labels, (-1, 0, 1))]
        raise ValueError(
            f"The labels in `{name}` must be 0 or 1, or -1 where it is not known. "
            f"Received: {wrong[0]}"
        )
    return labels.astype("int64")


def numbers(labels: Any, name: str) -> np.ndarray:
    """Return a float64 matrix of numbers, NaN where they are missing, or raise."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iubf" or labels.ndim not in (1, 2):
        raise ValueError(
            f"The labels in `{name}` must be numbers of shape (examples,) or (examples, targets). "
            f"Received: dtype {labels.dtype} and shape {labels.shape}"
        )
    labels = labels.astype("float64").reshape(len(labels), -1)
    if np.isinf(labels).any():
        raise ValueError(f"The labels in `{name}` must be finite, or NaN. Received: infinity")
    return labels


def is_labelled(labels: np.ndarray) -> np.ndarray:
    """Return which examples have a label."""
    if labels.dtype.kind == "U":
        return np.ones(len(labels), bool)
    if labels.dtype.kind == "f":
        return np.isfinite(labels).all(axis=1)
    return labels != -1 if labels.ndim == 1 else (labels != -1).any(axis=1)


def labelled_only(features: np.ndarray, labels: np.ndarray, name: str) -> tuple:
    """Return features and labels of the examples that have a label; raise if there are none."""
    rows = is_labelled(labels)
    if not rows.any():
        raise ValueError(
            f"`{name}` must hold examples with a label. Received: {len(labels)} without"
        )
    return (features, labels) if rows.all() else (features[rows], labels[rows])


def classes_of(labels: np.ndarray) -> np.ndarray:
    """Return the classes of training labels in order; raise if there is only one."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"`train` must hold at least two classes. Received: only class {classes[0]}"
        )
    return classes


def _as_text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
