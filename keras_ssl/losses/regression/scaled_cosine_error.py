"""The scaled cosine error: the loss of GraphMAE."""

import math
import numbers
from typing import Any

import keras
from keras import ops

from keras_ssl.losses._checks import check_views
from keras_ssl.losses._float32_loss import Float32Loss
from keras_ssl.ops import l2_normalize

NAMES = ("predictions", "targets")


def scaled_cosine_error(predictions: Any, targets: Any, gamma: float = 2.0) -> Any:
    """Scaled cosine error, one value an example.

    With z_i a prediction and x_i its target:

        l(i) = (1 - z_i · x_i / (||z_i|| ||x_i||))^γ

    Lengths do not count, and a γ above 1 weighs predictions down that are nearly right already.

    Args:
        predictions: `(n, dim)`, floating-point.
        targets: `(n, dim)`; row i belongs to row i of `predictions`.
        gamma: γ, at least 1.

    Returns:
        Tensor of shape `(n,)` between 0 and 2^γ, at least float32. A row of zeros has the value 1
        with everything, and a gradient of 0.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, or `gamma` is not finite and at
            least 1.
        TypeError: if an input is not floating-point, or `gamma` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z, x = np.array([[1, 0], [3, 4]], "float32"), np.array([[0, 2], [4, 3]], "float32")
    >>> [round(float(value), 4) for value in losses.scaled_cosine_error(z, x, gamma=2.0)]
    [1.0, 0.0016]

    Reference:
        - [Hou et al., GraphMAE: Self-Supervised Masked Graph
          Autoencoders](https://arxiv.org/abs/2205.10803), equation 2
    """
    _check_gamma(gamma)
    check_views(predictions, targets, NAMES)
    cosine = ops.sum(l2_normalize(predictions) * l2_normalize(targets), axis=-1)
    # rounding may bring the cosine above 1, where a power that is no integer is not a number
    return ops.power(ops.maximum(1.0 - cosine, 0.0), gamma)


@keras.saving.register_keras_serializable(package="keras_ssl")
class ScaledCosineError(Float32Loss):
    """Scaled cosine error of predictions and targets, the loss of GraphMAE.

    See `keras_ssl.losses.scaled_cosine_error` for the formula. It asks for the direction of the
    targets and not for their lengths, which suits features of many dimensions and few entries.

    Args:
        gamma: γ, at least 1. The paper takes 1 to 3.
        reduction: as in `keras.losses.Loss`; the default is the mean over the examples.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        predictions: `(batch, dim)`, floating-point.
        targets: `(batch, dim)`; row i belongs to row i of `predictions`.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        A scalar, or the `(batch,)` values of the examples with `reduction=None`.

    Raises:
        ValueError: if the shapes are not two equal `(batch, dim)`, or `gamma` is not finite and at
            least 1.
        TypeError: if an input is not floating-point, or `gamma` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z, x = np.array([[1, 0], [3, 4]], "float32"), np.array([[0, 2], [4, 3]], "float32")
    >>> round(float(losses.ScaledCosineError(gamma=1.0)(z, x)), 4)
    0.52

    Reference:
        - [Hou et al., GraphMAE: Self-Supervised Masked Graph
          Autoencoders](https://arxiv.org/abs/2205.10803)
    """

    def __init__(
        self,
        gamma: float = 2.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(reduction, name, dtype)
        _check_gamma(gamma)
        self.gamma = float(gamma)

    def __call__(self, predictions: Any, targets: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of predictions and targets."""
        # before Keras casts, which would hide integers
        check_views(predictions, targets, NAMES)
        return super().__call__(predictions, targets, sample_weight=sample_weight)

    def call(self, predictions: Any, targets: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return scaled_cosine_error(predictions, targets, self.gamma)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "gamma": self.gamma}


def _check_gamma(gamma: Any) -> None:
    if isinstance(gamma, bool) or not isinstance(gamma, numbers.Real):
        raise TypeError(f"`gamma` must be a number of at least 1. Received: gamma={gamma!r}")
    if not (gamma >= 1 and math.isfinite(gamma)):
        raise ValueError(f"`gamma` must be a finite number of at least 1. Received: gamma={gamma}")
