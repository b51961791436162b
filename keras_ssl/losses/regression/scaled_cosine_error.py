"""Scaled cosine error, the loss of GraphMAE."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._checks import check_views
from keras_ssl.losses.regression._base import NAMES, VectorRegressionLoss
from keras_ssl.ops import l2_normalize


def scaled_cosine_error(predictions: Any, targets: Any, gamma: float = 2.0) -> Any:
    """Scaled cosine error, one value per example.

    With z_i a prediction and x_i its target:

        l(i) = (1 - z_i · x_i / (||z_i|| ||x_i||))^γ

    The lengths of the vectors do not matter, and γ above 1 down-weights predictions that are
    already nearly right.

    Args:
        predictions: `(n, dim)`, floating-point.
        targets: `(n, dim)`; row i belongs to row i of `predictions`.
        gamma: γ, at least 1.

    Returns:
        Tensor of shape `(n,)` between 0 and 2^γ, at least float32. A row of zeros has the value 1
        and a zero gradient.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, or `gamma` is below 1.
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
    checks.number("gamma", gamma, minimum=1)
    check_views(predictions, targets, NAMES)
    cosine = ops.sum(l2_normalize(predictions) * l2_normalize(targets), axis=-1)
    # rounding may bring the cosine above 1, where a fractional power is NaN
    return ops.power(ops.maximum(1.0 - cosine, 0.0), gamma)


@keras.saving.register_keras_serializable(package="keras_ssl")
class ScaledCosineError(VectorRegressionLoss):
    """Scaled cosine error of predictions and targets, the loss of GraphMAE.

    See `keras_ssl.losses.scaled_cosine_error` for the formula, errors and reference. It compares
    directions and not lengths, which suits sparse features of many dimensions.

    Args:
        gamma: γ, a float of at least 1. The paper uses 1 to 3.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        predictions: `(batch, dim)`, floating-point.
        targets: `(batch, dim)`; row i belongs to row i of `predictions`.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z, x = np.array([[1, 0], [3, 4]], "float32"), np.array([[0, 2], [4, 3]], "float32")
    >>> round(float(losses.ScaledCosineError(gamma=1.0)(z, x)), 4)
    0.52
    """

    def __init__(self, gamma: float = 2.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.gamma = checks.number("gamma", gamma, minimum=1)

    def call(self, predictions: Any, targets: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return scaled_cosine_error(predictions, targets, self.gamma)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "gamma": self.gamma}
