"""Kullback-Leibler divergence of distributions that are given as log-probabilities."""

from typing import Any

import keras
from keras import ops

from keras_ssl.losses._supervised import SupervisedLoss, aligned, check_same_shape


def log_space_kl_divergence(y_true: Any, y_pred: Any, log_targets: bool = False) -> Any:
    """Kullback-Leibler divergence of targets from log-probabilities, one value per distribution.

    With t_j the target's probability of class j and log p_j the predicted log-probability:

        l = Σ_j t_j (log t_j - log p_j)

    Terms with t_j = 0 are 0, whatever p_j is.

    Args:
        y_true: probabilities, or log-probabilities with `log_targets=True`, `(n, ..., classes)`.
        y_pred: log-probabilities of the same shape, floating-point.
        log_targets: whether `y_true` are log-probabilities.

    Returns:
        Tensor of shape `(n, ...)` in nats, at least float32.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if `y_pred` are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> target, log_p = np.array([[1.0, 0.0]]), np.log(np.array([[0.5, 0.5]]))
    >>> round(float(losses.log_space_kl_divergence(target, log_p)[0]), 4)
    0.6931
    """
    check_same_shape(y_true, y_pred)
    targets, log_p = aligned(y_true, y_pred)
    if log_targets:
        t, log_t = ops.exp(targets), targets
    else:
        t = targets
        log_t = ops.log(ops.where(t > 0, t, ops.ones_like(t)))
    difference = ops.where(t > 0, log_t, ops.zeros_like(t)) - ops.where(t > 0, log_p, 0.0)
    return ops.sum(t * difference, axis=-1)


@keras.saving.register_keras_serializable(package="keras_ssl")
class LogSpaceKLDivergence(SupervisedLoss):
    """Kullback-Leibler divergence of targets from log-probabilities, PyTorch's `KLDivLoss`.

    See `keras_ssl.losses.log_space_kl_divergence` for the formula and errors.
    `keras.losses.KLDivergence` takes probabilities and clips them at 1e-7, which bounds values and
    cuts gradients; log-probabilities need no bound.

    The sum over the classes is a value: the default reduction is PyTorch's `"batchmean"` for
    `(batch, classes)`. PyTorch's `"mean"` also divides by the number of classes.

    Args:
        log_targets: whether the targets are log-probabilities.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: probabilities, or log-probabilities with `log_targets=True`,
            `(batch, ..., classes)`.
        y_pred: log-probabilities of the same shape.
        sample_weight: optional weights, `(batch,)` or `(batch, ...)`.

    Returns:
        The mean over the distributions, or their `(batch, ...)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> target, log_p = np.array([[1.0, 0.0]]), np.log(np.array([[0.5, 0.5]]))
    >>> round(float(losses.LogSpaceKLDivergence()(target, log_p)), 4)
    0.6931
    """

    def __init__(self, log_targets: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.log_targets = bool(log_targets)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the distributions, before the reduction."""
        return log_space_kl_divergence(y_true, y_pred, self.log_targets)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "log_targets": self.log_targets}
