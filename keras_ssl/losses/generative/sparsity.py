"""Penalties of codes that are not sparse."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import BatchLoss, Float32Loss
from keras_ssl.losses.generative._checks import check_rank
from keras_ssl.ops import at_least_float32

_AXES = "(batch, ..., units)"


def kl_sparsity(activations: Any, target: float = 0.05) -> Any:
    """Divergence of the mean activations of units from a small target.

    With ρ_j the mean activation of unit j over the examples of all replicas, and over positions if
    there are any, and ρ the target:

        l = Σ_j [ρ log(ρ / ρ_j) + (1 - ρ) log((1 - ρ) / (1 - ρ_j))]

    Args:
        activations: `(n, ..., units)` between 0 and 1, such as those of a sigmoid.
        target: ρ, above 0 and below 1.

    Returns:
        A scalar in nats, at least float32, equal on all replicas. Means are kept 1e-6 away from 0
        and 1, where the value would be infinite; beyond, there is no gradient.

    Raises:
        ValueError: if `activations` are a vector or `target` is out of range.
        TypeError: if `activations` are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> code = np.array([[0.1, 0.5], [0.0, 0.5]], "float32")  # means 0.05 and 0.5
    >>> round(float(losses.kl_sparsity(code, target=0.05)), 4)
    0.4946

    Reference:
        - [Ng, Sparse autoencoder](https://web.stanford.edu/class/cs294a/sparseAutoencoder.pdf),
          lecture notes of CS294A, 2011
    """
    target = checks.below_one("target", target, positive=True)
    check_rank(activations, "activations", 2, _AXES)
    units = activations.shape[-1]
    rows = ops.reshape(at_least_float32(activations), (-1, units))
    count = ops.cast(ops.shape(rows)[0] * distribute.replica_count(), rows.dtype)
    mean = distribute.all_reduce_sum(ops.sum(rows, axis=0)) / count
    mean = ops.clip(mean, 1e-6, 1 - 1e-6)
    used = target * (ops.log(target) - ops.log(mean))
    return ops.sum(used + (1 - target) * (ops.log(1 - target) - ops.log(1 - mean)))


def l1_sparsity(activations: Any) -> Any:
    """Sum of the absolute activations of an example, one value per example.

        l(i) = Σ_j |h_ij|

    Of feature maps, it is the mean over positions of the sum over channels.

    Args:
        activations: h, `(n, ..., units)`, floating-point.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if `activations` are a vector.
        TypeError: if `activations` are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> losses.l1_sparsity(np.array([[1, -2], [0, 0]], "float32")).numpy().tolist()
    [3.0, 0.0]
    """
    check_rank(activations, "activations", 2, _AXES)
    sums = ops.sum(ops.abs(at_least_float32(activations)), axis=-1)
    positions = tuple(range(1, len(sums.shape)))
    return ops.mean(sums, axis=positions) if positions else sums


@keras.saving.register_keras_serializable(package="keras_ssl")
class KLSparsity(BatchLoss):
    """Divergence of the mean activations of units from a small target.

    See `keras_ssl.losses.kl_sparsity` for the formula, errors and reference. It is one number for
    the global batch: there is neither a reduction nor a sample weight.

    Args:
        target: ρ, a float above 0 and below 1.
        name, dtype: as in `keras.losses.Loss`.

    Call arguments:
        activations: `(batch, ..., units)` between 0 and 1.

    Returns:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> round(float(losses.KLSparsity(0.5)(np.full((2, 3), 0.5, "float32"))), 4)
    0.0
    """

    def __init__(self, target: float = 0.05, name: str | None = None, dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)
        self.target = checks.below_one("target", target, positive=True)

    def __call__(self, activations: Any, sample_weight: Any = None) -> Any:
        """Compute the penalty of activations."""
        check_rank(activations, "activations", 2, _AXES)
        return super().__call__(activations, activations, sample_weight)

    def call(self, activations: Any, _: Any) -> Any:
        """Return the penalty, which Keras divides by the number of replicas, as `(1,)`."""
        return ops.reshape(kl_sparsity(activations, self.target), (1,))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "target": self.target}

    def check_values(self, activations: Any) -> None:
        """Raise a `ValueError` unless all values of an array or eager tensor are in [0, 1]."""
        values = np.asarray(ops.convert_to_numpy(activations), "float32")
        if not values.size:
            return
        least, largest = float(values.min()), float(values.max())
        if not (least >= 0 and largest <= 1):  # NaN is neither
            raise ValueError(
                "`losses.KLSparsity` needs a code between 0 and 1: let the encoder end in a "
                "sigmoid, or use `losses.L1Sparsity`. Received: a code of values from "
                f"{least:.4g} to {largest:.4g}"
            )


@keras.saving.register_keras_serializable(package="keras_ssl")
class L1Sparsity(Float32Loss):
    """Sum of the absolute activations of an example.

    See `keras_ssl.losses.l1_sparsity` for the formula and errors.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        activations: `(batch, ..., units)`.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> float(losses.L1Sparsity()(np.array([[1, -2], [0, 0]], "float32")))
    1.5
    """

    def __call__(self, activations: Any, sample_weight: Any = None) -> Any:
        """Compute the penalty of activations."""
        check_rank(activations, "activations", 2, _AXES)
        return super().__call__(activations, activations, sample_weight=sample_weight)

    def call(self, activations: Any, _: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return l1_sparsity(activations)
