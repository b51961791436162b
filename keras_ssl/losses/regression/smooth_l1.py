"""Smooth L1 loss, the robust loss of Fast R-CNN."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._supervised import (
    SupervisedLoss,
    aligned,
    check_same_shape,
    mean_of_rows,
)


def smooth_l1(y_true: Any, y_pred: Any, beta: float = 1.0) -> Any:
    """Smooth L1 error, the mean over the last axis.

    With e an error and β the width of the parabola:

        l = e² / (2 β)  if |e| < β,    |e| - β / 2  otherwise

    It is the Huber loss with δ = β, divided by β: slopes are at most 1, and β = 0 gives the
    absolute error, while Huber's slopes are at most δ and vanish with it.

    Args:
        y_true: targets, `(n, ...)`.
        y_pred: predictions of the same shape, floating-point.
        beta: β, at least 0.

    Returns:
        Tensor of shape `(n, ...)` without the last axis, at least float32; for inputs `(n,)` the
        values of the entries.

    Raises:
        ValueError: if the shapes differ, or `beta` is negative.
        TypeError: if `y_pred` are not floating-point, or `beta` is not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> losses.smooth_l1(np.zeros(3), np.array([0.5, -1.0, 3.0])).numpy().tolist()
    [0.125, 0.5, 2.5]

    Reference:
        - [Girshick, Fast R-CNN](https://arxiv.org/abs/1504.08083), equation 3
    """
    beta = checks.number("beta", beta, minimum=0)
    check_same_shape(y_true, y_pred)
    targets, predictions = aligned(y_true, y_pred)
    error = ops.abs(predictions - targets)
    if beta:
        # no square of a large error, which would overflow
        near = ops.minimum(error, beta)
        error = near / beta * (error - 0.5 * near)
    return mean_of_rows(error)


@keras.saving.register_keras_serializable(package="keras_ssl")
class SmoothL1(SupervisedLoss):
    """Smooth L1 error of predictions, PyTorch's `SmoothL1Loss`.

    See `keras_ssl.losses.smooth_l1` for the formula, errors and reference, and for how it differs
    from `keras.losses.Huber`; with `beta=1` and `delta=1` they are equal. As in Keras, a value is
    the mean over the last axis, and `reduction="sum"` sums these means.

    Args:
        beta: β, a float of at least 0.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: targets, `(batch, ...)`.
        y_pred: predictions of the same shape.
        sample_weight: optional weights, `(batch,)` or `(batch, ...)` without the last axis.

    Returns:
        The mean over all entries, or the values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> float(losses.SmoothL1(beta=0.5)(np.zeros((1, 2)), np.array([[0.5, 1.0]])))
    0.5
    """

    def __init__(self, beta: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.beta = checks.number("beta", beta, minimum=0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return smooth_l1(y_true, y_pred, self.beta)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "beta": self.beta}
