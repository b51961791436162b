"""Negative log-likelihood of class ids under log-probabilities."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._supervised import ClassLoss, check_class_ids, class_ids, real_classes
from keras_ssl.ops import at_least_float32


def negative_log_likelihood(y_true: Any, y_pred: Any, ignore_class: int | None = None) -> Any:
    """Negative log-likelihood of class ids, one value per id.

    With log p_ij the predicted log-probability of class j, and y_i the class of example i:

        l(i) = -log p_iy_i

    Args:
        y_true: integers from 0 to classes - 1, `(n, ...)` or `(n, ..., 1)`.
        y_pred: log-probabilities `(n, ..., classes)`, floating-point, such as those of
            `keras.ops.log_softmax`.
        ignore_class: an id, also one that is no class, whose value is 0, or `None`.

    Returns:
        Tensor of shape `(n, ...)`, at least float32; NaN for an id that is no class.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if `y_true` are not integers or `y_pred` not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> log_p = np.log(np.array([[0.5, 0.5], [0.1, 0.9]], "float32"))
    >>> [round(float(one), 4) for one in losses.negative_log_likelihood(np.array([0, 1]), log_p)]
    [0.6931, 0.1054]
    """
    checks.integer("ignore_class", ignore_class, optional=True)
    check_class_ids(y_true, y_pred)
    return _values(class_ids(y_true, y_pred), y_pred, ignore_class)


def _values(ids: Any, y_pred: Any, ignore_class: int | None) -> Any:
    if ignore_class is None:
        counts = None
    else:
        counts = ids != ignore_class
        ids = ops.where(counts, ids, 0)
    log_p = at_least_float32(y_pred)
    ids, fault = real_classes(ids, log_p)
    values = -ops.squeeze(ops.take_along_axis(log_p, ids[..., None], axis=-1), axis=-1)
    values = values + ops.cast(fault, values.dtype)
    return values if counts is None else ops.where(counts, values, ops.zeros_like(values))


@keras.saving.register_keras_serializable(package="keras_ssl")
class NegativeLogLikelihood(ClassLoss):
    """Negative log-likelihood of class ids under log-probabilities, PyTorch's `NLLLoss`.

    See `keras_ssl.losses.negative_log_likelihood` for the formula and errors. With scores that are
    not normalised, `keras.losses.SparseCategoricalCrossentropy(from_logits=True)` does the same in
    one step. This loss suits what returns log-probabilities, such as a layer of a mixture.

    Ignored ids do not count in a mean, as in Keras. Weights of classes are sample weights:
    PyTorch's mean, which divides by their sum, is `reduction="mean_with_sample_weight"`, while
    `"sum_over_batch_size"` divides by the number of examples.

    Args:
        class_weight: a sequence with one number of at least 0 for each class, or `None`.
        ignore_class: an id that does not count, such as -1, or `None`.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: integers from 0 to classes - 1, `(batch, ...)` or `(batch, ..., 1)`.
        y_pred: log-probabilities `(batch, ..., classes)`.
        sample_weight: optional weights, `(batch,)` or `(batch, ...)`.

    Returns:
        The mean over the ids, or their `(batch, ...)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> log_p = np.log(np.array([[0.5, 0.5], [0.1, 0.9], [0.3, 0.7]], "float32"))
    >>> loss = losses.NegativeLogLikelihood(ignore_class=-1)
    >>> round(float(loss(np.array([0, 1, -1]), log_p)), 4)  # of two examples
    0.3993
    """

    def __init__(
        self,
        class_weight: Sequence[float] | None = None,
        ignore_class: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(class_weight=class_weight, **kwargs)
        self.ignore_class = checks.integer("ignore_class", ignore_class, optional=True)

    def values(self, ids: Any, y_pred: Any) -> Any:
        """Return the values of the examples, without weights."""
        return _values(ids, y_pred, self.ignore_class)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "class_weight": self.class_weight,
            "ignore_class": self.ignore_class,
        }
