"""Noise-contrastive estimation."""

from typing import Any

import keras
from keras import ops

from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses._checks import are_compatible, check_dtype
from keras_ssl.ops import at_least_float32


def nce(labels: Any, scores: Any) -> Any:
    """Noise-contrastive estimation, one value per example.

    Each example has m + 1 candidates: one from the data, d, and m drawn from a known noise
    distribution P_n. A score is the log ratio of the model's and the noise's probability:

        s_j = log P(j | x) - log P_n(j)

    The probability that a candidate comes from the data is h_j = P / (P + m P_n) = σ(s_j - log m),
    and the loss is that of the binary classification of data and noise:

        l = -log h_d - Σ_{j ≠ d} log(1 - h_j)

    P need not be normalised by a sum over all classes, which is the point of the estimator.

    Args:
        labels: integers `(n,)`, the column of the candidate from the data.
        scores: `(n, m + 1)`, floating-point, with m at least 1.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if shapes do not fit, or there is no noise.
        TypeError: if `scores` is not floating-point, or `labels` not integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.array([[0.0, 0.0], [10.0, -10.0]], "float32")
    >>> [round(float(value), 3) for value in losses.nce(np.array([0, 0]), scores)]  # 2 log 2, ...
    [1.386, 0.0]

    Reference:
        - [Gutmann & Hyvärinen, Noise-contrastive estimation](
          https://proceedings.mlr.press/v9/gutmann10a.html)
        - [Wu et al., Unsupervised Feature Learning via Non-Parametric Instance
          Discrimination](https://arxiv.org/abs/1805.01978)
    """
    _check_inputs(labels, scores)
    scores = at_least_float32(scores)
    columns = ops.shape(scores)[1]
    # a sum of softplus, rather than logarithms of probabilities that may be 0
    scores = scores - ops.log(ops.cast(columns - 1, scores.dtype))
    is_data = ops.arange(columns, dtype="int32") == ops.cast(labels, "int32")[:, None]
    return ops.sum(ops.softplus(ops.where(is_data, -scores, scores)), axis=-1)


def _check_inputs(labels: Any, scores: Any) -> None:
    label_shape = tuple(check_dtype(labels, "labels", "integer").shape)
    shape = tuple(check_dtype(scores, "scores").shape)
    if len(shape) != 2 or (shape[1] is not None and shape[1] < 2):
        raise ValueError(
            "`scores` must have shape (batch, 1 + noise), with at least one sample of noise. "
            f"Received: scores.shape={shape}"
        )
    if not are_compatible(label_shape, shape[:1]):
        raise ValueError(
            "`labels` must hold one integer for each row of `scores`. "
            f"Received: labels.shape={label_shape}, scores.shape={shape}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class NCE(Float32Loss):
    """Noise-contrastive estimation: classify candidates as data or noise.

    See `keras_ssl.losses.nce` for the formula, errors and references. The arguments are those of
    `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`, which can replace it where
    there are few enough classes to normalise over.

    Args:
        reduction, name, dtype: as in `keras.losses.Loss`; the default dtype is at least float32.

    Call arguments:
        labels: integers `(batch,)`, the column of the candidate from the data.
        scores: `(batch, 1 + noise)`, floating-point: the log ratio of the model's and the noise's
            probability of each candidate.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.array([[0.0, 0.0], [10.0, -10.0]], "float32")
    >>> round(float(losses.NCE()(np.array([0, 0]), scores)), 3)
    0.693
    """

    def __call__(self, labels: Any, scores: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of candidates' scores."""
        _check_inputs(labels, scores)
        return super().__call__(labels, scores, sample_weight=sample_weight)

    def call(self, labels: Any, scores: Any) -> Any:
        """Return the values of the examples."""
        # Keras has cast labels to float32, exact up to 2^24
        return nce(ops.cast(labels, "int32"), scores)
