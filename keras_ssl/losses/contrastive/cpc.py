"""CPC: pick the target that comes later out of those of all places and examples."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses.contrastive._contrastive_loss import ContrastiveLoss
from keras_ssl.ops import log_sum_exp_of_similarities


def cpc(prediction: Any, target: Any, temperature: Any = 1.0, chunk_size: int | None = None) -> Any:
    """Cross entropy of picking each prediction's target out of all targets.

    With p[b, t] the prediction for example b of its target z k steps later, z[b, t + k], and τ the
    temperature:

        l[b, t] = -log( exp(p[b, t] · z[b, t + k] / τ) / Σ_{b', t'} exp(p[b, t] · z[b', t'] / τ) )

    The sum goes over all targets: those of other places of the same example, those of all other
    examples of all replicas, and the right one. In the papers p[b, t] = W_k c[b, t], so that the
    product is bilinear in context and target; nothing is normalised. k is told by the shapes:
    predictions are of the last of the targets. Further axes, such as the columns of a grid, are
    places as well.

    Args:
        prediction: `(batch, positions - k, ..., dim)`, floating-point.
        target: `(batch, positions, ..., dim)`, floating-point.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient. CPC has 1; version 2 has 10 (it multiplies predictions by 0.1).
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, to the same value and gradient.

    Returns:
        Tensor of shape `(batch, positions - k, ...)`, at least float32.

    Raises:
        ValueError: if the shapes do not fit, there is no target but the right one, `temperature`
            is not finite and above 0, or `chunk_size` below 1.
        TypeError: if an input is not floating-point, or `chunk_size` not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> target = np.eye(3, dtype="float32")[None]  # a sequence of three steps
    >>> prediction = target[:, 1:]  # of one step later, right
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
    check_prediction_of(prediction, target)
    prediction, target = (
        ops.cast(x, keras.backend.result_type(keras.backend.standardize_dtype(x.dtype), "float32"))
        for x in map(ops.convert_to_tensor, (prediction, target))
    )
    dim = prediction.shape[-1]
    right = target[:, -prediction.shape[1] :]
    positive = ops.sum(prediction * right, axis=-1) / temperature
    candidates = distribute.all_gather(ops.reshape(target, (-1, dim)))
    queries = ops.reshape(prediction, (-1, dim)) / temperature
    total = log_sum_exp_of_similarities(queries, candidates, None, chunk_size)
    return ops.reshape(total, ops.shape(positive)) - positive


def check_prediction_of(prediction: Any, target: Any) -> None:
    """Raise unless `prediction` is of the last of the targets' positions.

    Args:
        prediction: `(batch, positions - k, ..., dim)`.
        target: `(batch, positions, ..., dim)`.

    Raises:
        ValueError: if the shapes do not fit, or there is but one target over all replicas.
        TypeError: if one is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.contrastive.cpc import check_prediction_of
    >>> check_prediction_of(np.zeros((4, 6, 7, 8)), np.zeros((4, 7, 7, 8)))
    """
    for name, x in (("prediction", prediction), ("target", target)):
        is_tensor = hasattr(x, "dtype") and hasattr(x, "shape")
        received = keras.backend.standardize_dtype(x.dtype) if is_tensor else type(x).__name__
        if not is_tensor or not keras.backend.is_float_dtype(received):
            raise TypeError(
                f"`{name}` must be a tensor of floating-point numbers. Received: {received}"
            )
    shapes = tuple(prediction.shape), tuple(target.shape)
    # the size of the batch may be unknown
    fits = len(shapes[0]) == len(shapes[1]) >= 3 and shapes[0][2:] == shapes[1][2:]
    fits = fits and (None in (shapes[0][0], shapes[1][0]) or shapes[0][0] == shapes[1][0])
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


# a trainer has the class's name
@keras.saving.register_keras_serializable(package="keras_ssl")
class CPCLoss(ContrastiveLoss):
    """Cross entropy of picking what comes later out of all targets, the InfoNCE of CPC.

    See `keras_ssl.losses.cpc` for the formula. It differs from `keras_ssl.losses.InfoNCE` in two
    ways: vectors are not normalised, and every prediction chooses out of the targets of all
    places, also of those that no prediction of this step is for. The computation is in float32
    under mixed precision. Under a `tf.distribute` strategy the targets of all replicas are
    candidates; as with every Keras loss, the value is then divided by the number of replicas.

    Args:
        temperature: float above 0.
        chunk_size: `None` stores the matrix of all similarities. An integer computes it in tiles
            of at most `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good
            size.
        reduction: as in `keras.losses.Loss`; the default is the mean over all predictions.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        prediction: `(batch, positions - k, ..., dim)`, floating-point.
        target: `(batch, positions, ..., dim)`, floating-point; the predictions are of the last.
        sample_weight: optional weights of the predictions.

    Returns:
        A scalar, or the `(batch, positions - k, ...)` values with `reduction=None`.

    Raises:
        ValueError: if the shapes do not fit, `temperature` is not finite and above 0, or
            `chunk_size` below 1.
        TypeError: if an input is not floating-point, `temperature` not a number, or `chunk_size`
            not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> target = np.eye(3, dtype="float32")[None]  # a sequence of three steps
    >>> round(float(losses.CPCLoss()(target[:, 1:], target)), 4)  # -log(e / (e + 2))
    0.5514

    Reference:
        - [van den Oord et al., Representation Learning with Contrastive Predictive
          Coding](https://arxiv.org/abs/1807.03748)
        - [Hénaff et al., Data-Efficient Image Recognition with Contrastive Predictive
          Coding](https://arxiv.org/abs/1905.09272)
    """

    def __init__(
        self,
        temperature: float = 1.0,
        chunk_size: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(temperature, chunk_size, reduction, name, dtype)

    def __call__(self, prediction: Any, target: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of predictions and targets."""
        # before Keras casts, which would hide integers
        check_prediction_of(prediction, target)
        return super().__call__(prediction, target, sample_weight=sample_weight)

    def call(self, prediction: Any, target: Any) -> Any:
        """Return the values of the predictions."""
        return cpc(prediction, target, self.temperature, self.chunk_size)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, which are the base's."""
        return super().get_config()
