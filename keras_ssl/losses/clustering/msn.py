"""The loss of masked Siamese networks (MSN)."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import Float32Loss, like
from keras_ssl.losses.clustering._base import check_same_shape, check_scores, scores_by_view
from keras_ssl.losses.clustering.sinkhorn_knopp import sinkhorn_knopp
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.schedules import serialize


def msn(
    target_scores: Any,
    anchor_scores: Any,
    temperature: Any = 0.1,
    sharpening: float = 0.25,
    regularization_weight: float = 1.0,
    sinkhorn_iterations: int = 0,
) -> Any:
    """Cross entropy of the assignments of anchors and targets to prototypes, per example.

    Scores are the cosine similarities of embeddings and prototypes. Anchors are M views with
    masked patches, the target is another view without a mask. With a_m and t their scores, τ the
    temperature, T the sharpening and λ the weight of the regulariser:

        p_m = softmax(a_m / τ),  p⁺ = softmax(t / (τ T))
        l(i) = -1/M Σ_m Σ_k p⁺(i, k) log p_m(i, k) + λ (log K - H(p̄))

    where p̄ is the mean of all p_m over the views and the examples of all replicas, and H its
    entropy, which is largest when all K prototypes are used equally. p⁺ is `p_target^(1/T)`,
    normalised; with `sinkhorn_iterations` it is also balanced over the batch. No gradient flows
    to the targets.

    Args:
        target_scores: `(n, prototypes)`, floating-point.
        anchor_scores: a list of M tensors `(n, prototypes)`, or one tensor `(M, n, prototypes)`.
        temperature: τ, above 0: a number or a scalar tensor.
        sharpening: T, above 0 and at most 1, where 1 does not sharpen.
        regularization_weight: λ, at least 0.
        sinkhorn_iterations: iterations of `keras_ssl.losses.sinkhorn_knopp` that balance the
            targets; 0 turns it off.

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
    >>> [round(float(value), 3) for value in losses.msn(z, [z], temperature=0.5)]
    [0.343, 0.343, 0.343, 0.343]

    Reference:
        - [Assran et al., Masked Siamese Networks for Label-Efficient
          Learning](https://arxiv.org/abs/2204.07141)
    """
    settings = (temperature, sharpening, regularization_weight, sinkhorn_iterations)
    return regularized_cross_entropy(target_scores, anchor_scores, *settings, _missing_entropy)


def regularized_cross_entropy(
    target_scores: Any,
    anchor_scores: Any,
    temperature: Any,
    sharpening: float,
    regularization_weight: float,
    sinkhorn_iterations: int,
    regularizer: Callable[[Any], Any],
) -> Any:
    """Values of `msn` with another function of the mean distribution as the regulariser."""
    temperature = checks.temperature("temperature", temperature)
    _check_settings(sharpening, regularization_weight, sinkhorn_iterations)
    views = _check_views(target_scores, anchor_scores)
    target = ops.stop_gradient(at_least_float32(target_scores))
    temperature = like(temperature, target)
    target = target / (temperature * sharpening)
    if sinkhorn_iterations:
        log_target = ops.log_softmax(target)
        target = sinkhorn_knopp(log_target, epsilon=1.0, iterations=sinkhorn_iterations)
    else:
        target = ops.softmax(target)
    log_p = [ops.log_softmax(view / temperature) for view in views]
    values = -ops.sum(target * sum(log_p[1:], log_p[0]), axis=-1) / len(views)
    if regularization_weight > 0:
        values = values + regularization_weight * regularizer(_mean_distribution(log_p))
    return values


def _missing_entropy(mean: Any) -> Any:
    """Log K minus the entropy of a distribution."""
    # p log p is 0 at p = 0, where the logarithm has an infinite gradient
    entropy = -ops.sum(mean * ops.log(ops.maximum(mean, 1e-30)))
    return math.log(mean.shape[0]) - entropy


def _mean_distribution(log_p: list[Any]) -> Any:
    """Mean of all distributions over views and replicas."""
    total = distribute.all_reduce_sum(sum(ops.sum(ops.exp(view), axis=0) for view in log_p))
    count = ops.shape(log_p[0])[0] * (len(log_p) * distribute.replica_count())
    return total / ops.cast(count, total.dtype)


def _check_settings(
    sharpening: Any, regularization_weight: Any, sinkhorn_iterations: Any
) -> tuple[float, float, int]:
    return (
        checks.positive("sharpening", sharpening, maximum=1),
        checks.number("regularization_weight", regularization_weight, minimum=0),
        checks.integer("sinkhorn_iterations", sinkhorn_iterations, minimum=0),
    )


def _check_views(target_scores: Any, anchor_scores: Any) -> list[Any]:
    """Return the scores of the anchors by view."""
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
    return anchors


@keras.saving.register_keras_serializable(package="keras_ssl")
class MSNLoss(Float32Loss):
    """Cross entropy of the assignments of anchors and targets, the loss of MSN.

    See `keras_ssl.losses.msn` for the formula, errors and reference. The computation is in float32
    under mixed precision. Under a `tf.distribute` strategy the mean assignment is that of all
    replicas, and the value is divided by the number of replicas, as with every Keras loss.

    Args:
        temperature: float above 0, of anchors and targets, or a schedule, see
            `keras_ssl.losses.NTXent`.
        sharpening: float above 0 and at most 1. Low values make targets more certain.
        regularization_weight: float of at least 0, of the entropy of the mean assignment.
        sinkhorn_iterations: iterations of `keras_ssl.losses.sinkhorn_knopp` that balance the
            targets over the batch; 0 turns it off. The paper relies on the entropy.
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
    >>> loss = losses.MSNLoss(temperature=0.5)
    >>> z = np.eye(4, dtype="float32")
    >>> round(float(loss(z, [z])), 3)
    0.343
    >>> one = np.eye(4, dtype="float32")[[0, 0, 0, 0]]  # one prototype for all examples
    >>> round(float(loss(one, [one])), 3)
    0.811
    """

    def __init__(
        self,
        temperature: Any = 0.1,
        sharpening: float = 0.25,
        regularization_weight: float = 1.0,
        sinkhorn_iterations: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.temperature = checks.positive_or_schedule("temperature", temperature)
        self.sharpening, self.regularization_weight, self.sinkhorn_iterations = _check_settings(
            sharpening, regularization_weight, sinkhorn_iterations
        )

    def __call__(self, target_scores: Any, anchor_scores: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of the scores of targets and anchors."""
        _check_views(target_scores, anchor_scores)
        return super().__call__(target_scores, anchor_scores, sample_weight=sample_weight)

    def call(self, target_scores: Any, anchor_scores: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return msn(
            target_scores,
            anchor_scores,
            self.value_now("temperature"),
            self.sharpening,
            self.regularization_weight,
            self.sinkhorn_iterations,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": serialize(self.temperature),
            "sharpening": self.sharpening,
            "regularization_weight": self.regularization_weight,
            "sinkhorn_iterations": self.sinkhorn_iterations,
        }
