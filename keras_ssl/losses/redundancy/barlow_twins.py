"""The loss of Barlow Twins: features agree between views and do not repeat each other."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._checks import check_views
from keras_ssl.losses.redundancy._batch_loss import BatchLoss, check_has_statistics
from keras_ssl.ops import off_diagonal_sum_of_squares, standardize


def barlow_twins(z1: Any, z2: Any, off_diagonal_weight: float = 0.005) -> Any:
    """Distance of the views' cross-correlation from the identity.

    With C the `(dim, dim)` matrix of correlations of the features of `z1` with those of `z2` over
    the examples of all replicas, and λ `off_diagonal_weight`:

        l = Σ_i (1 - C_ii)² + λ Σ_i Σ_{j ≠ i} C_ij²

    Features are standardised over the batch as batch normalisation does it, with an epsilon of
    1e-5. The value is equal on all replicas.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        off_diagonal_weight: λ, at least 0.

    Returns:
        A scalar, at least float32.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, the batch over all replicas holds
            a single example, or `off_diagonal_weight` is negative or not finite.
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
    check_views(z1, z2)
    check_has_statistics(z1)
    z1, z2 = (standardize(distribute.all_gather(z)) for z in (z1, z2))
    examples = ops.cast(ops.shape(z1)[0], z1.dtype)
    diagonal = ops.sum(z1 * z2, axis=0) / examples
    invariance = ops.sum(ops.square(1 - diagonal))
    redundancy = off_diagonal_sum_of_squares(z1, z2 / examples)
    return invariance + off_diagonal_weight * redundancy


# the trainer of this name is registered by it
@keras.saving.register_keras_serializable(package="keras_ssl")
class BarlowTwinsLoss(BatchLoss):
    """Distance of the cross-correlation of two views from the identity.

    The diagonal makes a feature equal in both views; the rest makes features differ from each
    other. See `keras_ssl.losses.barlow_twins` for the formula.

    The computation is in float32 under mixed precision. Under a `tf.distribute` strategy the
    correlations are those of the global batch, and value and gradient are those of one replica
    with that batch: embeddings are gathered, and every replica computes the whole loss. As with
    every Keras loss, the value is then divided by the number of replicas. With fewer examples
    than features the matrix of correlations is never made, see
    `keras_ssl.ops.off_diagonal_sum_of_squares`.

    Args:
        off_diagonal_weight: λ, a float of at least 0.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        z1: embeddings of the first views, `(batch, dim)`, floating-point.
        z2: embeddings of the second views, `(batch, dim)`; row i belongs to row i of `z1`.

    Returns:
        A scalar.

    Raises:
        ValueError: if `off_diagonal_weight` is negative or not finite, the shapes are not two
            equal `(batch, dim)`, the batch over all replicas holds a single example, or weights
            of examples are given.
        TypeError: if a view is not floating-point, or `off_diagonal_weight` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")  # independent features
    >>> round(float(losses.BarlowTwinsLoss()(z, z[:, ::-1])), 4)  # 2 + 2 λ
    2.01

    Reference:
        - [Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy
          Reduction](https://arxiv.org/abs/2103.03230)
    """

    def __init__(
        self,
        off_diagonal_weight: float = 0.005,
        name: str | None = None,
        dtype: str | None = None,
    ):
        checks.number("off_diagonal_weight", off_diagonal_weight, minimum=0)
        super().__init__(name, dtype)
        self.off_diagonal_weight = float(off_diagonal_weight)

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the loss of the global batch, `(1,)`."""
        return ops.reshape(barlow_twins(z1, z2, self.off_diagonal_weight), (1,))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "off_diagonal_weight": self.off_diagonal_weight}
