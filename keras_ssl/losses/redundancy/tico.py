"""TiCo: transformation invariance and covariance contrast."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses._checks import are_compatible, check_matrix, check_views
from keras_ssl.ops import l2_normalize


def tico(z: Any, targets: Any, covariance: Any, contrast_weight: float = 8.0) -> Any:
    """Distance of views and their extent along what embeddings have in common, per example.

    With z and t the embeddings of two views, scaled to length 1, C the uncentred covariance of
    embeddings and ρ `contrast_weight`:

        l(i) = 1 - z_i · t_i + ρ z_iᵀ C z_i

    No gradient flows to C, which `keras_ssl.layers.MovingCovariance` keeps over the batches.

    Args:
        z: embeddings of the first views, `(n, dim)`, floating-point. Normalised here.
        targets: those of the second views, `(n, dim)`, usually by a teacher. Normalised here.
        covariance: C, `(dim, dim)`, floating-point, of embeddings of length 1.
        contrast_weight: ρ, at least 0.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)` and `(dim, dim)`, or
            `contrast_weight` is negative.
        TypeError: if an input is not floating-point, or `contrast_weight` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> [float(value) for value in losses.tico(z, z, 0.5 * z)]
    [4.0, 4.0]

    Reference:
        - [Zhu et al., TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised
          Visual Representation Learning](https://arxiv.org/abs/2206.10698)
    """
    contrast_weight = checks.number("contrast_weight", contrast_weight, minimum=0)
    _check_inputs(z, targets, covariance)
    z, targets = l2_normalize(z), l2_normalize(targets)
    covariance = ops.stop_gradient(ops.cast(covariance, z.dtype))
    invariance = 1 - ops.sum(z * targets, axis=-1)
    return invariance + contrast_weight * ops.sum(ops.matmul(z, covariance) * z, axis=-1)


def _check_inputs(z: Any, targets: Any, covariance: Any) -> None:
    check_views(z, targets, ("z", "targets"))
    covariance = check_matrix(covariance, "covariance", "(dim, dim)")
    dim = z.shape[1]
    if not are_compatible(tuple(covariance.shape), (dim, dim)):
        raise ValueError(
            "`covariance` must be that of the embeddings, (dim, dim). Received: "
            f"covariance.shape={tuple(covariance.shape)} and z.shape={tuple(z.shape)}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class TiCoLoss(Float32Loss):
    """Transformation invariance and covariance contrast, the loss of TiCo.

    See `keras_ssl.losses.tico` for the formula, errors and reference. The computation is in
    float32 under mixed precision. Under a `tf.distribute` strategy `covariance` should be that of
    all replicas, as `keras_ssl.layers.MovingCovariance` returns it, and the value is divided by
    the number of replicas, as with every Keras loss.

    Args:
        contrast_weight: ρ, a float of at least 0, of the covariance contrast.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        z: embeddings of the first views, `(batch, dim)`, floating-point.
        targets: those of the second views, `(batch, dim)`; row i belongs to row i of `z`.
        covariance: uncentred covariance of embeddings of length 1, `(dim, dim)`.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> float(losses.TiCoLoss()(z, z, 0.5 * z))
    4.0
    """

    def __init__(self, contrast_weight: float = 8.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.contrast_weight = checks.number("contrast_weight", contrast_weight, minimum=0)

    def __call__(self, z: Any, targets: Any, covariance: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of embeddings, given their covariance."""
        _check_inputs(z, targets, covariance)  # before the cast, which would hide integers
        return super().__call__((z, covariance), targets, sample_weight=sample_weight)

    def call(self, inputs: Any, targets: Any) -> Any:
        """Return the values of the examples; `inputs` are embeddings and their covariance."""
        z, covariance = inputs
        return tico(z, targets, covariance, self.contrast_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "contrast_weight": self.contrast_weight}
