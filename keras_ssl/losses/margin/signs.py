"""Margins of scores and distances whose labels are 1 and -1."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._supervised import (
    SupervisedLoss,
    aligned,
    check_same_shape,
    mean_of_rows,
    signs,
)


def soft_margin(y_true: Any, y_pred: Any) -> Any:
    """Logistic loss of labels 1 and -1, the mean over the last axis.

        l = log(1 + exp(-y s))

    It is the binary cross-entropy of logits s.

    Args:
        y_true: 1, or -1 or 0, `(n, ...)`.
        y_pred: scores s of the same shape, floating-point.

    Returns:
        Tensor of shape `(n, ...)` without the last axis, at least float32; for inputs `(n,)` the
        values of the entries.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if `y_pred` are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> values = losses.soft_margin(np.array([1, -1]), np.array([0.0, -2.0]))
    >>> [round(float(one), 4) for one in values]  # log 2, log(1 + e^-2)
    [0.6931, 0.1269]
    """
    check_same_shape(y_true, y_pred)
    labels, scores = aligned(y_true, y_pred)
    return mean_of_rows(ops.softplus(-signs(labels, scores.dtype) * scores))


@keras.saving.register_keras_serializable(package="keras_ssl")
class SoftMargin(SupervisedLoss):
    """Logistic loss of labels 1 and -1, PyTorch's `SoftMarginLoss`.

    See `keras_ssl.losses.soft_margin` for the formula and errors. For labels 1 and 0 it equals
    `keras.losses.BinaryCrossentropy(from_logits=True)`, which takes no -1. As in Keras, a value is
    the mean over the last axis, and `reduction="sum"` sums these means.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: 1, or -1 or 0, `(batch, ...)`.
        y_pred: scores of the same shape.
        sample_weight: optional weights, `(batch,)` or `(batch, ...)` without the last axis.

    Returns:
        The mean over all entries, or the values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> round(float(losses.SoftMargin()(np.array([[1], [-1]]), np.array([[0.0], [-2.0]]))), 4)
    0.41
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return soft_margin(y_true, y_pred)


def hinge_embedding(y_true: Any, y_pred: Any, margin: float = 1.0) -> Any:
    """Hinge loss of distances between similar or dissimilar things, the mean over the last axis.

    With d a distance and m the margin:

        l = d  if y = 1,    max(0, m - d)  if y = -1

    Args:
        y_true: 1 for similar, -1 or 0 for dissimilar, `(n, ...)`.
        y_pred: distances d of the same shape, floating-point.
        margin: m, at least 0.

    Returns:
        Tensor of shape `(n, ...)` without the last axis, at least float32; for inputs `(n,)` the
        values of the entries.

    Raises:
        ValueError: if the shapes differ, or `margin` is negative.
        TypeError: if `y_pred` are not floating-point, or `margin` is not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> distances = np.array([0.25, 0.25, 3.0])
    >>> losses.hinge_embedding(np.array([1, -1, -1]), distances).numpy().tolist()
    [0.25, 0.75, 0.0]
    """
    margin = checks.number("margin", margin, minimum=0)
    check_same_shape(y_true, y_pred)
    labels, distances = aligned(y_true, y_pred)
    return mean_of_rows(ops.where(labels > 0, distances, ops.relu(margin - distances)))


@keras.saving.register_keras_serializable(package="keras_ssl")
class HingeEmbedding(SupervisedLoss):
    """Hinge loss of distances, PyTorch's `HingeEmbeddingLoss`.

    See `keras_ssl.losses.hinge_embedding` for the formula and errors. The model returns the
    distances. `keras_ssl.losses.ContrastiveMargin` takes the embeddings themselves, and squares.
    As in Keras, a value is the mean over the last axis, and `reduction="sum"` sums these means.

    Args:
        margin: m, a float of at least 0.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: 1 for similar, -1 or 0 for dissimilar, `(batch, ...)`.
        y_pred: distances of the same shape.
        sample_weight: optional weights, `(batch,)` or `(batch, ...)` without the last axis.

    Returns:
        The mean over all entries, or the values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> float(losses.HingeEmbedding()(np.array([1, -1]), np.array([0.25, 0.25])))
    0.5
    """

    def __init__(self, margin: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.margin = checks.number("margin", margin, minimum=0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return hinge_embedding(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "margin": self.margin}
