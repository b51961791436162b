"""Negative sampling."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses._checks import are_compatible, check_dtype
from keras_ssl.ops import at_least_float32


def neg(labels: Any, scores: Any, noise_per_example: float = 5.0) -> Any:
    """Negative sampling (NEG), one value per row of candidates.

    Each row has candidates from the data, n, and m from a noise distribution. Every one from the
    data is contrasted with k from the noise. The m of the row stand for all of them, so that their
    loss counts k n / m times:

        l = -Σ_{data} log σ(s_j) - (k n / m) Σ_{noise} log σ(-s_j)

    With n = 1 and m = k this is the objective of word2vec. Where scores are
    log P(j) - log(k P_n(j)), it is noise-contrastive estimation (`keras_ssl.losses.nce`). Scores of
    two words that are learned with it estimate their pointwise mutual information, less log k, if
    the noise has the frequencies of the words.

    Args:
        labels: integers, 1 for candidates from the data, 0 for noise, -1 for neither.
        scores: floating-point, of the same shape `(..., candidates)`.
        noise_per_example: k, positive.

    Returns:
        Tensor of shape `(...,)`, at least float32; 0 for a row without data.

    Raises:
        TypeError: if `scores` is not floating-point, or `labels` not integers.
        ValueError: if shapes differ, or `noise_per_example` is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> labels = np.array([[1, 1, -1, 0, 0], [-1, -1, -1, 0, 0]])
    >>> values = losses.neg(labels, np.zeros((2, 5), "float32"), noise_per_example=3)
    >>> [round(float(value), 3) for value in values]  # 2 log 2 + 6 log 2, no data
    [5.545, 0.0]

    Reference:
        - [Mikolov et al., Distributed Representations of Words and Phrases and their
          Compositionality](https://arxiv.org/abs/1310.4546)
        - [Levy & Goldberg, Neural Word Embedding as Implicit Matrix Factorization](
          https://papers.nips.cc/paper/5477-neural-word-embedding-as-implicit-matrix-factorization)
    """
    _check_inputs(labels, scores)
    noise_per_example = checks.positive("noise_per_example", noise_per_example)
    scores = at_least_float32(scores)
    is_data = ops.cast(ops.equal(labels, 1), scores.dtype)
    is_noise = ops.cast(ops.equal(labels, 0), scores.dtype)
    data = ops.sum(is_data, axis=-1, keepdims=True)
    noise = ops.maximum(ops.sum(is_noise, axis=-1, keepdims=True), 1.0)
    weights = is_data + is_noise * (noise_per_example * data / noise)
    return ops.sum(weights * ops.softplus(scores * (1.0 - 2.0 * is_data)), axis=-1)


def _check_inputs(labels: Any, scores: Any) -> None:
    labels = tuple(check_dtype(labels, "labels", "integer").shape)
    scores = tuple(check_dtype(scores, "scores").shape)
    if not scores or not are_compatible(labels, scores):
        raise ValueError(
            "`labels` and `scores` must have the same shape, (..., candidates). "
            f"Received: labels.shape={labels}, scores.shape={scores}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class NEG(Float32Loss):
    """Negative sampling: classify candidates of rows as data or noise.

    See `keras_ssl.losses.neg` for the formula, errors and references.

    Args:
        noise_per_example: k, how many candidates from the noise each one from the data is
            contrasted with; positive.
        reduction, name, dtype: as in `keras.losses.Loss`; the default dtype is at least float32.

    Call arguments:
        labels: integers `(..., candidates)`: 1 for data, 0 for noise, -1 for neither.
        scores: floating-point, of the same shape.
        sample_weight: optional weights of the rows, `(...,)`.

    Returns:
        The mean over the rows, or their `(...,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.NEG(noise_per_example=2)
    >>> round(float(loss(np.array([[1, 0]]), np.zeros((1, 2), "float32"))), 3)  # 3 log 2
    2.079
    """

    def __init__(
        self,
        noise_per_example: float = 5.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(reduction, name, dtype)
        self.noise_per_example = checks.positive("noise_per_example", noise_per_example)

    def __call__(self, labels: Any, scores: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of candidates' scores."""
        _check_inputs(labels, scores)
        return super().__call__(labels, scores, sample_weight=sample_weight)

    def call(self, labels: Any, scores: Any) -> Any:
        """Return the values of the rows."""
        # Keras has cast labels to float32
        return neg(ops.cast(labels, "int32"), scores, self.noise_per_example)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "noise_per_example": self.noise_per_example}
