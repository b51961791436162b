"""The loss of PMSN: MSN with a power law as the prior of the clusters' sizes."""

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.losses.clustering.msn import MSNLoss, regularized_cross_entropy


def pmsn(
    target_scores: Any,
    anchor_scores: Any,
    temperature: Any = 0.1,
    sharpening: float = 0.25,
    regularization_weight: float = 1.0,
    sinkhorn_iterations: int = 0,
    exponent: float = 0.25,
) -> Any:
    """Cross entropy of the assignments of anchors and targets, drawn to a power law, per example.

    The loss of MSN, `keras_ssl.losses.msn`, with another regulariser. MSN draws the mean
    assignment p̄ of all anchors to the uniform distribution, so that all prototypes are used
    equally. Here the k-th of K prototypes should be used in proportion to k^-τ, with τ `exponent`:

        q(k) = k^-τ / Σ_j j^-τ
        l(i) = cross entropy of msn + λ Σ_k q(k) log(q(k) / p̄(k))

    The divergence is the one that Lightly computes. The other way round, it would be MSN's entropy
    for τ = 0, up to a constant.

    Args:
        target_scores: `(n, prototypes)`, floating-point.
        anchor_scores: a list of M tensors `(n, prototypes)`, or one tensor `(M, n, prototypes)`.
        temperature: as in `keras_ssl.losses.msn`.
        sharpening: as in `keras_ssl.losses.msn`.
        regularization_weight: λ, at least 0.
        sinkhorn_iterations: as in `keras_ssl.losses.msn`; balancing is at odds with the prior.
        exponent: τ, at least 0, where 0 means that all prototypes are used equally.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if there are no anchors, fewer than two prototypes, shapes differ, or an
            argument is out of range.
        TypeError: if scores are not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(4, dtype="float32")
    >>> [round(float(value), 3) for value in losses.pmsn(z, [z], temperature=0.5, exponent=1.0)]
    [0.487, 0.487, 0.487, 0.487]

    Reference:
        - [Assran et al., The Hidden Uniform Cluster Prior in Self-Supervised
          Learning](https://arxiv.org/abs/2210.07277)
    """
    exponent = checks.number("exponent", exponent, minimum=0)
    settings = (temperature, sharpening, regularization_weight, sinkhorn_iterations)
    regularizer = partial(_divergence_from_power_law, exponent=exponent)
    return regularized_cross_entropy(target_scores, anchor_scores, *settings, regularizer)


def _divergence_from_power_law(mean: Any, exponent: float) -> Any:
    prior = np.arange(1, mean.shape[0] + 1, dtype="float64") ** -exponent
    prior /= prior.sum()
    shares = ops.convert_to_tensor(prior, mean.dtype)
    cross = -ops.sum(shares * ops.log(ops.maximum(mean, 1e-30)))
    return cross + float(np.sum(prior * np.log(prior)))


@keras.saving.register_keras_serializable(package="keras_ssl")
class PMSNLoss(MSNLoss):
    """Cross entropy of the assignments of anchors and targets, drawn to a power law.

    See `keras_ssl.losses.pmsn` for the formula, errors and reference, and
    `keras_ssl.losses.MSNLoss` for mixed precision and replicas.

    Args:
        temperature: float above 0, of anchors and targets, or a schedule, see
            `keras_ssl.losses.NTXent`.
        sharpening: float above 0 and at most 1. Low values make targets more certain.
        regularization_weight: float of at least 0, of the divergence from the prior.
        sinkhorn_iterations: iterations of `keras_ssl.losses.sinkhorn_knopp` that balance the
            targets over the batch; 0 turns it off.
        exponent: τ, a float of at least 0, of the power law.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        target_scores: similarities of the targets and the prototypes, `(batch, prototypes)`.
        anchor_scores: those of the anchors: a list of `(batch, prototypes)`, one per masked view,
            or one tensor `(views, batch, prototypes)`.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(4, dtype="float32")
    >>> round(float(losses.PMSNLoss(temperature=0.5, exponent=1.0)(z, [z])), 3)
    0.487
    """

    def __init__(
        self,
        temperature: Any = 0.1,
        sharpening: float = 0.25,
        regularization_weight: float = 1.0,
        sinkhorn_iterations: int = 0,
        exponent: float = 0.25,
        **kwargs: Any,
    ):
        super().__init__(
            temperature, sharpening, regularization_weight, sinkhorn_iterations, **kwargs
        )
        self.exponent = checks.number("exponent", exponent, minimum=0)

    def call(self, target_scores: Any, anchor_scores: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return pmsn(
            target_scores,
            anchor_scores,
            self.value_now("temperature"),
            self.sharpening,
            self.regularization_weight,
            self.sinkhorn_iterations,
            self.exponent,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "exponent": self.exponent}
