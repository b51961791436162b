"""MSN: masked views are assigned to the prototypes of the whole view."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._checks import check_same_shape, check_scores, scores_by_view
from keras_ssl.losses._float32_loss import Float32Loss
from keras_ssl.losses.clustering.sinkhorn_knopp import sinkhorn_knopp
from keras_ssl.ops import at_least_float32


def msn(
    target_scores: Any,
    anchor_scores: Any,
    temperature: float = 0.1,
    sharpening: float = 0.25,
    regularization_weight: float = 1.0,
    sinkhorn_iterations: int = 0,
) -> Any:
    """Cross entropy of anchors' and targets' assignments to prototypes, one value an example.

    Scores are the cosine similarities of embeddings and prototypes. Anchors are the embeddings of
    M views with patches masked, the target is that of another view in full. With a_m and t their
    scores, τ the temperature, T the sharpening and λ the weight of the regulariser:

        p_m = softmax(a_m / τ),  p⁺ = softmax(t / (τ T))
        l(i) = -1/M Σ_m Σ_k p⁺(i, k) log p_m(i, k) + λ (log K - H(p̄))

    where p̄ is the mean of all p_m over the views and the examples of all replicas, and H its
    entropy, the largest where all K prototypes are used alike. p⁺ is `p_target^(1/T)`,
    normalised; with iterations of `sinkhorn_knopp` it is balanced over the batch as well. No
    gradient flows to targets.

    Args:
        target_scores: `(n, prototypes)`, floating-point.
        anchor_scores: a list of M times `(n, prototypes)` or one tensor `(M, n, prototypes)`.
        temperature: τ, above 0.
        sharpening: T, above 0, at most 1, where 1 leaves targets as they are.
        regularization_weight: λ, at least 0.
        sinkhorn_iterations: how often targets are balanced; 0 does not.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if there are no anchors, fewer than two prototypes, shapes differ, or a number
            is out of its range.
        TypeError: if scores are not floating-point, or a number is of another type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(4, dtype="float32")
    >>> [round(float(value), 3) for value in losses.msn(z, [z], temperature=0.5)]
    [0.343, 0.343, 0.343, 0.343]

    Reference:
        - [Assran et al., Masked Siamese Networks for Label-Efficient
          Learning](https://arxiv.org/abs/2204.07141)
    """
    check_msn_settings(temperature, sharpening, regularization_weight, sinkhorn_iterations)
    check_msn_views(target_scores, anchor_scores)
    target = ops.stop_gradient(at_least_float32(target_scores))
    if sinkhorn_iterations:
        log_target = ops.log_softmax(target / (temperature * sharpening))
        target = sinkhorn_knopp(log_target, epsilon=1.0, iterations=sinkhorn_iterations)
    else:
        target = ops.softmax(target / (temperature * sharpening))
    views = scores_by_view(anchor_scores, "anchor_scores")
    log_p = [ops.log_softmax(view / temperature) for view in views]
    values = -ops.sum(target * sum(log_p[1:], log_p[0]), axis=-1) / len(views)
    if regularization_weight > 0:
        values = values + regularization_weight * _missing_entropy(log_p)
    return values


def _missing_entropy(log_p: list[Any]) -> Any:
    """How much the entropy of the mean of all distributions, over replicas, is below log K."""
    total = distribute.all_reduce_sum(sum(ops.sum(ops.exp(view), axis=0) for view in log_p))
    count = ops.shape(log_p[0])[0] * (len(log_p) * distribute.replica_count())
    mean = total / ops.cast(count, total.dtype)
    # p log p is 0 at p = 0, where the logarithm's gradient would be infinite
    entropy = -ops.sum(mean * ops.log(ops.maximum(mean, 1e-30)))
    return math.log(mean.shape[0]) - entropy


def check_msn_settings(
    temperature: float, sharpening: float, regularization_weight: float, sinkhorn_iterations: int
) -> None:
    """Raise unless all numbers of `msn` are in their range.

    Args:
        temperature: above 0.
        sharpening: above 0, at most 1.
        regularization_weight: at least 0.
        sinkhorn_iterations: at least 0.

    Raises:
        ValueError: if a number is out of its range.
        TypeError: if one is of another type.

    Example:

    >>> from keras_ssl.losses.clustering.msn import check_msn_settings
    >>> check_msn_settings(0.1, 0.25, 1.0, 3)
    """
    checks.positive("temperature", temperature)
    checks.positive("sharpening", sharpening, maximum=1)
    checks.number("regularization_weight", regularization_weight, minimum=0)
    checks.integer("sinkhorn_iterations", sinkhorn_iterations, minimum=0)


def check_msn_views(target_scores: Any, anchor_scores: Any) -> None:
    """Raise unless these are scores of a target and at least one anchor for each example.

    Args:
        target_scores: those of the targets.
        anchor_scores: those of the anchors.

    Raises:
        ValueError: as `msn` does.
        TypeError: if scores are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.clustering.msn import check_msn_views
    >>> check_msn_views(np.zeros((4, 10), "float32"), np.zeros((2, 4, 10), "float32"))
    """
    check_scores(target_scores, "target_scores")
    anchors = scores_by_view(anchor_scores, "anchor_scores")
    if not anchors:
        raise ValueError(
            "MSN needs at least two views, a target and an anchor. "
            "Received: none in `anchor_scores`"
        )
    check_same_shape([target_scores, *anchors], "`target_scores` and `anchor_scores`")
    if anchors[0].shape[1] is None:
        raise ValueError(
            "The number of prototypes must be known. "
            f"Received: anchor_scores[0].shape={tuple(anchors[0].shape)}"
        )


# a trainer has the class's name
@keras.saving.register_keras_serializable(package="keras_ssl")
class MSNLoss(Float32Loss):
    """Cross entropy of anchors' and targets' assignments, the loss of masked siamese networks.

    See `keras_ssl.losses.msn` for the formula. The computation is in float32 under mixed
    precision. Under a `tf.distribute` strategy the mean assignment is that of all replicas; as
    with every Keras loss, the value is then divided by the number of replicas.

    Args:
        temperature: float above 0, of anchors and targets.
        sharpening: float above 0, at most 1. Lower ones make targets more certain.
        regularization_weight: float, at least 0, of the entropy of the mean assignment.
        sinkhorn_iterations: how often targets are balanced over the batch by
            `keras_ssl.losses.sinkhorn_knopp`; 0 does not. The entropy is what the paper relies
            on.
        reduction: as in `keras.losses.Loss`; the default is the mean over the examples.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        target_scores: similarities of the targets and the prototypes, `(batch, prototypes)`.
        anchor_scores: those of the anchors: a list of `(batch, prototypes)`, one a masked view,
            or one tensor `(views, batch, prototypes)`.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        A scalar, or the `(batch,)` values of the examples with `reduction=None`.

    Raises:
        ValueError: if there are no anchors, fewer than two prototypes, shapes differ, or a number
            is out of its range.
        TypeError: if scores are not floating-point, or a number is of another type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.MSNLoss(temperature=0.5)
    >>> z = np.eye(4, dtype="float32")
    >>> round(float(loss(z, [z])), 3)
    0.343
    >>> one = np.eye(4, dtype="float32")[[0, 0, 0, 0]]  # one prototype takes all
    >>> round(float(loss(one, [one])), 3)
    0.811

    Reference:
        - [Assran et al., Masked Siamese Networks for Label-Efficient
          Learning](https://arxiv.org/abs/2204.07141)
    """

    def __init__(
        self,
        temperature: float = 0.1,
        sharpening: float = 0.25,
        regularization_weight: float = 1.0,
        sinkhorn_iterations: int = 0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        check_msn_settings(temperature, sharpening, regularization_weight, sinkhorn_iterations)
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.temperature = float(temperature)
        self.sharpening = float(sharpening)
        self.regularization_weight = float(regularization_weight)
        self.sinkhorn_iterations = int(sinkhorn_iterations)

    def __call__(self, target_scores: Any, anchor_scores: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of the scores of targets and anchors."""
        # before Keras casts, which would hide integers
        check_msn_views(target_scores, anchor_scores)
        return super().__call__(target_scores, anchor_scores, sample_weight=sample_weight)

    def call(self, target_scores: Any, anchor_scores: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return msn(
            target_scores,
            anchor_scores,
            self.temperature,
            self.sharpening,
            self.regularization_weight,
            self.sinkhorn_iterations,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "sharpening": self.sharpening,
            "regularization_weight": self.regularization_weight,
            "sinkhorn_iterations": self.sinkhorn_iterations,
        }
