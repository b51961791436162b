"""Noise-contrastive estimation: tell the data from noise of a known distribution."""

from typing import Any

import keras
from keras import ops

from keras_ssl.losses._float32_loss import Float32Loss
from keras_ssl.ops import at_least_float32


def nce(labels: Any, scores: Any) -> Any:
    """Noise-contrastive estimation, one value an example.

    Each example has m + 1 candidates: one of the data, d, and m that were drawn from the noise. A
    score is the logarithm of how much likelier the model finds a candidate than the noise does:

        s_j = log P(j | x) - log P_n(j)

    The probability that a candidate comes from the data is h_j = P / (P + m P_n) = σ(s_j - log m),
    and the loss that of telling data and noise apart:

        l = -log h_d - Σ_{j ≠ d} log(1 - h_j)

    P need not be normalised by a sum over all classes, which is what the estimate is for.

    Args:
        labels: integers `(n,)`: the column of the data's candidate.
        scores: `(n, m + 1)`, floating-point, with m at least 1.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if `scores` is not of rank 2 or has fewer than 2 columns, or `labels` is not of
            shape `(n,)`.
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
    check_labels(labels, scores)
    scores = at_least_float32(scores)
    columns = ops.shape(scores)[1]
    # a sum of softplus, and no logarithm of a probability that may be 0
    scores = scores - ops.log(ops.cast(columns - 1, scores.dtype))
    is_data = ops.arange(columns, dtype="int32") == ops.cast(labels, "int32")[:, None]
    return ops.sum(ops.softplus(ops.where(is_data, -scores, scores)), axis=-1)


def check_labels(labels: Any, scores: Any) -> None:
    """Raise unless these are candidates' scores and the columns of the data among them.

    Args:
        labels: integers `(n,)`.
        scores: `(n, m + 1)`.

    Raises:
        ValueError: if `scores` is not of rank 2 or has fewer than 2 columns, or `labels` is not of
            shape `(n,)`.
        TypeError: if `scores` is not floating-point, or `labels` not integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.contrastive.nce import check_labels
    >>> check_labels(np.array([0, 0]), np.zeros((2, 5), "float32"))
    """
    if not hasattr(scores, "dtype") or not hasattr(scores, "shape"):
        scores = ops.convert_to_tensor(scores)
    if not hasattr(labels, "dtype") or not hasattr(labels, "shape"):
        labels = ops.convert_to_tensor(labels)
    shape = tuple(scores.shape)
    if len(shape) != 2 or (shape[1] is not None and shape[1] < 2):
        raise ValueError(
            "`scores` must have shape (batch, 1 + noise), with at least one sample of noise. "
            f"Received: scores.shape={shape}"
        )
    dtype = keras.backend.standardize_dtype(scores.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(f"`scores` must be floating-point. Received: scores.dtype={dtype}")
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise TypeError(f"`labels` must hold integers. Received: labels.dtype={dtype}")
    sizes = (*tuple(labels.shape), shape[0])
    # an unknown size (None) may be any size
    if len(sizes) != 2 or (None not in sizes and sizes[0] != sizes[1]):
        raise ValueError(
            "`labels` must hold one integer for each row of `scores`. "
            f"Received: labels.shape={tuple(labels.shape)}, scores.shape={shape}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class NCE(Float32Loss):
    """Noise-contrastive estimation: tell the data's candidate from those drawn from noise.

    See `keras_ssl.losses.nce` for the formula. The arguments are those of
    `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`, which takes its place where
    candidates are few enough to be normalised over. The computation is in float32 under mixed
    precision. As with every Keras loss, the value is divided by the number of replicas under a
    `tf.distribute` strategy.

    Args:
        reduction: as in `keras.losses.Loss`; the default is the mean over the examples.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        labels: integers `(batch,)`: the column of the data's candidate.
        scores: `(batch, 1 + noise)`, floating-point: the logarithm of how much likelier the model
            finds each candidate than the noise does.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        A scalar, or the `(batch,)` values of the examples with `reduction=None`.

    Raises:
        ValueError: if the shapes do not fit, or there is no noise.
        TypeError: if `scores` is not floating-point, or `labels` not integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.array([[0.0, 0.0], [10.0, -10.0]], "float32")
    >>> round(float(losses.NCE()(np.array([0, 0]), scores)), 3)
    0.693

    Reference:
        - [Gutmann & Hyvärinen, Noise-contrastive estimation](
          https://proceedings.mlr.press/v9/gutmann10a.html)
        - [Wu et al., Unsupervised Feature Learning via Non-Parametric Instance
          Discrimination](https://arxiv.org/abs/1805.01978)
    """

    def __call__(self, labels: Any, scores: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of candidates' scores."""
        # before Keras casts, which would hide integers
        check_labels(labels, scores)
        return super().__call__(labels, scores, sample_weight=sample_weight)

    def call(self, labels: Any, scores: Any) -> Any:
        """Return the values of the examples."""
        # Keras has made floats of labels, exact up to 2^24
        return nce(ops.cast(labels, "int32"), scores)
