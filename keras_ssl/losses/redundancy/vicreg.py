"""VICReg: variance, invariance and covariance regularisation."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._checks import check_views
from keras_ssl.losses.redundancy._base import TwoViewsLoss, global_views
from keras_ssl.losses.redundancy._vicreg import covariance_term, variance_term, weights_by_term
from keras_ssl.ops import center


def vicreg_terms(z1: Any, z2: Any, epsilon: float = 1e-4) -> dict[str, Any]:
    """Invariance, variance and covariance terms of two views, unweighted.

    Over the N examples of all replicas, with d features, Var and Cov the unbiased variance and
    covariance, and ε `epsilon`:

        invariance = 1/(N d) Σ_n ||z1_n - z2_n||²
        v(z) = 1/d Σ_j max(0, 1 - sqrt(Var(z_j) + ε))
        variance = (v(z1) + v(z2)) / 2
        c(z) = 1/d Σ_i Σ_{j ≠ i} Cov(z_i, z_j)²
        covariance = c(z1) + c(z2)

    as in the authors' code. The paper's formulas lack the 1/d of the invariance and the 1/2 of
    the variance, but its weights are those of the code.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        epsilon: ε, above 0, which keeps the gradient of the square root finite.

    Returns:
        Dictionary of the scalars "invariance", "variance" and "covariance", at least float32,
        equal on all replicas.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, the global batch holds a single
            example, or `epsilon` is not positive.
        TypeError: if a view is not floating-point, or `epsilon` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.ones((4, 2), "float32")  # collapsed
    >>> terms = losses.vicreg_terms(z, z)
    >>> {name: round(float(value), 4) for name, value in terms.items()}
    {'invariance': 0.0, 'variance': 0.99, 'covariance': 0.0}

    Reference:
        - [Bardes et al., VICReg: Variance-Invariance-Covariance Regularization for
          Self-Supervised Learning](https://arxiv.org/abs/2105.04906)
    """
    checks.positive("epsilon", epsilon)
    z1, z2 = global_views(z1, z2)
    centered = [center(z) for z in (z1, z2)]
    difference = ops.cast(z1, centered[0].dtype) - ops.cast(z2, centered[1].dtype)
    variances = [variance_term(z, epsilon) for z in centered]
    covariances = [covariance_term(z) for z in centered]
    return {
        "invariance": ops.mean(ops.square(difference)),
        "variance": (variances[0] + variances[1]) / 2,
        "covariance": covariances[0] + covariances[1],
    }


def vicreg(
    z1: Any,
    z2: Any,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    epsilon: float = 1e-4,
) -> Any:
    """Variance-invariance-covariance regularisation.

    The weighted sum of the terms of `keras_ssl.losses.vicreg_terms`:

        l = λ invariance + μ variance + ν covariance

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        invariance_weight: λ, at least 0.
        variance_weight: μ, at least 0.
        covariance_weight: ν, at least 0.
        epsilon: ε, above 0, added to variances.

    Returns:
        A scalar, at least float32, equal on all replicas.

    Raises:
        ValueError: as `keras_ssl.losses.vicreg_terms`, or if a weight is negative.
        TypeError: as `keras_ssl.losses.vicreg_terms`, or if a weight is not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.ones((4, 2), "float32")  # collapsed
    >>> round(float(losses.vicreg(z, z)), 4)  # 25 * (1 - sqrt(ε))
    24.75

    Reference:
        - [Bardes et al., VICReg: Variance-Invariance-Covariance Regularization for
          Self-Supervised Learning](https://arxiv.org/abs/2105.04906)
    """
    weights = weights_by_term(invariance_weight, variance_weight, covariance_weight)
    terms = vicreg_terms(z1, z2, epsilon)
    return sum(weights[name] * value for name, value in terms.items())


@keras.saving.register_keras_serializable(package="keras_ssl")
class VICRegLoss(TwoViewsLoss):
    """Variance-invariance-covariance regularisation of two views.

    The views of an example agree (invariance), each feature varies over the batch (variance,
    without which all embeddings become equal), and features are not copies of each other
    (covariance). See `keras_ssl.losses.vicreg_terms` for the formulas, errors and reference, and
    `keras_ssl.losses.BarlowTwinsLoss` for mixed precision and replicas.

    Args:
        invariance_weight: float of at least 0.
        variance_weight: float of at least 0.
        covariance_weight: float of at least 0.
        epsilon: float above 0, added to variances.
        **kwargs: `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        z1: embeddings of the first views, `(batch, dim)`, floating-point.
        z2: embeddings of the second views, `(batch, dim)`; row i belongs to row i of `z1`.

    Returns:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.ones((4, 2), "float32")  # collapsed
    >>> loss = losses.VICRegLoss()
    >>> round(float(loss(z, z)), 4)  # 25 * (1 - sqrt(ε))
    24.75
    >>> {name: round(float(value[0]), 4) for name, value in loss.terms(z, z).items()}
    {'invariance': 0.0, 'variance': 24.75, 'covariance': 0.0}
    """

    def __init__(
        self,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        epsilon: float = 1e-4,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._weights = weights_by_term(invariance_weight, variance_weight, covariance_weight)
        self.epsilon = checks.positive("epsilon", epsilon)

    def terms(self, z1: Any, z2: Any) -> dict[str, Any]:
        """Return the three weighted terms, whose sum is the loss.

        For a trainer that reports each as a loss of its own, and divides each by the number of
        replicas as any loss.

        Args:
            z1: embeddings of the first views, `(batch, dim)`, floating-point.
            z2: embeddings of the second views, `(batch, dim)`; row i belongs to row i of `z1`.

        Returns:
            Dictionary of the tensors "invariance", "variance" and "covariance" of shape `(1,)`, in
            the loss's dtype, equal on all replicas.

        Raises:
            ValueError: as `keras_ssl.losses.vicreg_terms`.
            TypeError: as `keras_ssl.losses.vicreg_terms`.
        """
        check_views(z1, z2)  # before the cast, which would hide integers
        z1, z2 = (ops.cast(z, self.dtype) for z in (z1, z2))
        terms = vicreg_terms(z1, z2, self.epsilon)
        return {
            name: ops.reshape(self._weights[name] * value, (1,)) for name, value in terms.items()
        }

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the loss of the global batch, `(1,)`."""
        return sum(self.terms(z1, z2).values())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        weights = {f"{name}_weight": weight for name, weight in self._weights.items()}
        return {**super().get_config(), **weights, "epsilon": self.epsilon}
