"""The loss of contrastive predictive coding."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import like
from keras_ssl.losses._checks import are_compatible, check_dtype
from keras_ssl.losses.contrastive._base import ContrastiveLoss
from keras_ssl.ops import at_least_float32, log_sum_exp_of_similarities


def cpc(prediction: Any, target: Any, temperature: Any = 1.0, chunk_size: int | None = None) -> Any:
    """Cross entropy of picking the target of each prediction, one value per prediction.

    With p[b, t] the prediction for example b of its target z k steps later, z[b, t + k], and τ the
    temperature:

        l[b, t] = -log( exp(p[b, t] · z[b, t + k] / τ) / Σ_{b', t'} exp(p[b, t] · z[b', t'] / τ) )

    The sum runs over all targets: the positive, the other positions of the same example, and all
    other examples of all replicas. In the papers p[b, t] = W_k c[b, t], so that the product is
    bilinear in context and target; nothing is normalised. k follows from the shapes: predictions
    are of the last targets. Further axes, such as the columns of a grid, are positions as well.

    Args:
        prediction: `(batch, positions - k, ..., dim)`, floating-point.
        target: `(batch, positions, ..., dim)`, floating-point.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient. CPC has 1; version 2 has 10 (it multiplies predictions by 0.1).
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, with the same value and gradient but without second
            derivatives.

    Returns:
        Tensor of shape `(batch, positions - k, ...)`, at least float32.

    Raises:
        ValueError: if shapes do not fit, there is a single target, or an argument is out of
            range.
        TypeError: if an input is not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> target = np.eye(3, dtype="float32")[None]  # a sequence of three steps
    >>> prediction = target[:, 1:]  # correct, one step ahead
    >>> [round(float(value), 4) for value in losses.cpc(prediction, target)[0]]
    [0.5514, 0.5514]

    Reference:
        - [van den Oord et al., Representation Learning with Contrastive Predictive
          Coding](https://arxiv.org/abs/1807.03748)
        - [Hénaff et al., Data-Efficient Image Recognition with Contrastive Predictive
          Coding](https://arxiv.org/abs/1905.09272)
    """
    temperature = checks.temperature("temperature", temperature)
    checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
    _check_inputs(prediction, target)
    prediction, target = at_least_float32(prediction), at_least_float32(target)
    temperature = like(temperature, prediction)
    dim = prediction.shape[-1]
    positives = target[:, -prediction.shape[1] :]
    positive = ops.sum(prediction * positives, axis=-1) / temperature
    candidates = distribute.all_gather(ops.reshape(target, (-1, dim)))
    queries = ops.reshape(prediction, (-1, dim)) / temperature
    total = log_sum_exp_of_similarities(queries, candidates, None, chunk_size)
    return ops.reshape(total, ops.shape(positive)) - positive


def _check_inputs(prediction: Any, target: Any) -> None:
    shapes = [
        tuple(check_dtype(x, name).shape)
        for name, x in (("prediction", prediction), ("target", target))
    ]
    fits = len(shapes[0]) == len(shapes[1]) >= 3 and shapes[0][2:] == shapes[1][2:]
    fits = fits and are_compatible(shapes[0][:1], shapes[1][:1])
    if not fits or not 1 <= shapes[0][1] <= shapes[1][1]:
        raise ValueError(
            "`prediction` must have shape (batch, positions - k, ..., dim) and `target` (batch, "
            "positions, ..., dim), with k at least 0. "
            f"Received: prediction.shape={shapes[0]}, target.shape={shapes[1]}"
        )
    batch, *places = shapes[1][:-1]
    if batch is not None and batch * math.prod(places) * distribute.replica_count() < 2:
        raise ValueError(
            "A contrastive loss needs negatives: `target` must hold at least 2 vectors over all "
            f"replicas. Received: target.shape={shapes[1]}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class CPCLoss(ContrastiveLoss):
    """Cross entropy of picking the later target out of all targets, the InfoNCE of CPC.

    See `keras_ssl.losses.cpc` for the formula, errors and references, and
    `keras_ssl.losses.NTXent` for mixed precision and replicas. It differs from
    `keras_ssl.losses.InfoNCE` in two ways: vectors are not normalised, and the candidates of a
    prediction are the targets at all positions.

    Args:
        temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`.
        chunk_size: `None`, or the side of the tiles in which similarities are computed, see
            `keras_ssl.losses.NTXent`.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        prediction: `(batch, positions - k, ..., dim)`, floating-point.
        target: `(batch, positions, ..., dim)`, floating-point; predictions are of the last ones.
        sample_weight: optional weights of the predictions.

    Returns:
        The mean over all predictions, or their `(batch, positions - k, ...)` values with
        `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> target = np.eye(3, dtype="float32")[None]  # a sequence of three steps
    >>> round(float(losses.CPCLoss()(target[:, 1:], target)), 4)  # -log(e / (e + 2))
    0.5514
    """

    def __init__(self, temperature: Any = 1.0, chunk_size: int | None = None, **kwargs: Any):
        super().__init__(temperature, chunk_size, **kwargs)

    def __call__(self, prediction: Any, target: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of predictions and targets."""
        _check_inputs(prediction, target)
        return super().__call__(prediction, target, sample_weight=sample_weight)

    def call(self, prediction: Any, target: Any) -> Any:
        """Return the values of the predictions, before the reduction."""
        return cpc(prediction, target, self.value_now("temperature"), self.chunk_size)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config()
