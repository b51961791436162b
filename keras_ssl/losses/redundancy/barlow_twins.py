"""The loss of Barlow Twins."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses.redundancy._base import TwoViewsLoss, global_views
from keras_ssl.ops import off_diagonal_sum_of_squares, standardize


def barlow_twins(z1: Any, z2: Any, off_diagonal_weight: float = 0.005) -> Any:
    """Distance of the cross-correlation matrix of two views from the identity.

    With C the `(dim, dim)` matrix of correlations of the features of `z1` with those of `z2` over
    the examples of all replicas, and λ `off_diagonal_weight`:

        l = Σ_i (1 - C_ii)² + λ Σ_i Σ_{j ≠ i} C_ij²

    Features are standardised over the batch as in batch normalisation, with an epsilon of 1e-5.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        off_diagonal_weight: λ, at least 0.

    Returns:
        A scalar, at least float32, equal on all replicas.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, the global batch holds a single
            example, or `off_diagonal_weight` is negative.
        TypeError: if a view is not floating-point, or `off_diagonal_weight` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")  # independent features
    >>> round(float(losses.barlow_twins(z, z)), 4)
    0.0
    >>> round(float(losses.barlow_twins(z, z[:, ::-1])), 4)  # 2 + 2 λ
    2.01

    Reference:
        - [Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy
          Reduction](https://arxiv.org/abs/2103.03230)
    """
    checks.number("off_diagonal_weight", off_diagonal_weight, minimum=0)
    z1, z2 = (standardize(z) for z in global_views(z1, z2))
    examples = ops.cast(ops.shape(z1)[0], z1.dtype)
    diagonal = ops.sum(z1 * z2, axis=0) / examples
    invariance = ops.sum(ops.square(1 - diagonal))
    redundancy = off_diagonal_sum_of_squares(z1, z2 / examples)
    return invariance + off_diagonal_weight * redundancy


@keras.saving.register_keras_serializable(package="keras_ssl")
class BarlowTwinsLoss(TwoViewsLoss):
    """Distance of the cross-correlation matrix of two views from the identity.

    The diagonal makes each feature equal in both views, the rest makes features independent. See
    `keras_ssl.losses.barlow_twins` for the formula, errors and reference.

    The computation is in float32 under mixed precision. Under a `tf.distribute` strategy
    embeddings are gathered and every replica computes the loss of the global batch, which is then
    divided by the number of replicas, as with every Keras loss. With fewer examples than features
    the matrix of correlations is never stored.

    Args:
        off_diagonal_weight: λ, a float of at least 0.
        **kwargs: `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        z1: embeddings of the first views, `(batch, dim)`, floating-point.
        z2: embeddings of the second views, `(batch, dim)`; row i belongs to row i of `z1`.

    Returns:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")  # independent features
    >>> round(float(losses.BarlowTwinsLoss()(z, z[:, ::-1])), 4)  # 2 + 2 λ
    2.01
    """

    def __init__(self, off_diagonal_weight: float = 0.005, **kwargs: Any):
        super().__init__(**kwargs)
        self.off_diagonal_weight = checks.number(
            "off_diagonal_weight", off_diagonal_weight, minimum=0
        )

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the loss of the global batch, `(1,)`."""
        return ops.reshape(barlow_twins(z1, z2, self.off_diagonal_weight), (1,))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "off_diagonal_weight": self.off_diagonal_weight}
