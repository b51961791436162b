"""Margins between the scores of classes: of one class per example, and of several."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._supervised import (
    ClassLoss,
    SupervisedLoss,
    aligned,
    check_class_ids,
    check_same_shape,
    class_ids,
    real_classes,
)
from keras_ssl.ops import at_least_float32


def multi_class_hinge(y_true: Any, y_pred: Any, margin: float = 1.0, power: int = 1) -> Any:
    """Hinge loss of Weston and Watkins, one value per class id.

    With s_ij the score of class j and y_i the class of example i, m the margin and p the power:

        l(i) = Σ_{j ≠ y_i} max(0, m - s_iy_i + s_ij)^p

    Every class whose score comes within the margin counts. In the hinge loss of Crammer and Singer
    only the highest one does: for scores of at least 0 that is `keras.losses.CategoricalHinge`,
    whose margin is 1, and which takes a wrong score below 0 for 0.

    Args:
        y_true: integers from 0 to classes - 1, `(n, ...)` or `(n, ..., 1)`.
        y_pred: scores `(n, ..., classes)`, floating-point.
        margin: m, at least 0.
        power: p, 1 or 2.

    Returns:
        Tensor of shape `(n, ...)`, at least float32; NaN for an id that is no class. Divided by the
        number of classes, it is PyTorch's `MultiMarginLoss`.

    Raises:
        ValueError: if the shapes do not fit, or an argument is out of range.
        TypeError: if `y_true` are not integers, `y_pred` not floating-point, or an argument has
            the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.array([[2.0, 1.5, -1.0]])
    >>> losses.multi_class_hinge(np.array([0]), scores).numpy().tolist()
    [0.5]
    >>> losses.multi_class_hinge(np.array([1]), scores).numpy().tolist()
    [1.5]

    Reference:
        - [Weston & Watkins, Support Vector Machines for Multi-Class Pattern
          Recognition](https://www.esann.org/sites/default/files/proceedings/legacy/es1999-461.pdf)
    """
    margin, power = checks.number("margin", margin, minimum=0), _check_power(power)
    check_class_ids(y_true, y_pred)
    return _multi_class_hinge(class_ids(y_true, y_pred), y_pred, margin, power)


def _multi_class_hinge(ids: Any, y_pred: Any, margin: float, power: int) -> Any:
    scores = at_least_float32(y_pred)
    ids, fault = real_classes(ids, scores)
    terms = ops.relu(margin - ops.take_along_axis(scores, ids[..., None], axis=-1) + scores)
    if power == 2:
        terms = ops.square(terms)
    is_other = ops.arange(ops.shape(scores)[-1], dtype="int32") != ids[..., None]
    values = ops.sum(ops.where(is_other, terms, ops.zeros_like(terms)), axis=-1)
    return values + ops.cast(fault, values.dtype)


def _check_power(power: Any) -> int:
    power = checks.integer("power", power, minimum=1)
    if power > 2:
        raise ValueError(f"`power` must be 1 or 2. Received: power={power}")
    return power


@keras.saving.register_keras_serializable(package="keras_ssl")
class MultiClassHinge(ClassLoss):
    """Hinge loss of Weston and Watkins for class ids.

    See `keras_ssl.losses.multi_class_hinge` for the formula, errors and reference. PyTorch's
    `MultiMarginLoss` is its mean over the classes. The loss of Crammer and Singer, in which only
    the highest wrong score counts, is `keras.losses.CategoricalHinge` of one-hot labels, for scores
    of at least 0.

    Args:
        margin: m, a float of at least 0.
        power: p, 1 or 2.
        class_weight: a sequence with one number of at least 0 for each class, by which the values
            of its examples are multiplied, or `None`.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: integers from 0 to classes - 1, `(batch, ...)` or `(batch, ..., 1)`.
        y_pred: scores `(batch, ..., classes)`.
        sample_weight: optional weights, `(batch,)` or `(batch, ...)`.

    Returns:
        The mean over the ids, or their `(batch, ...)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.array([[2.0, 1.5, -1.0], [0.0, 0.0, 3.0]])
    >>> float(losses.MultiClassHinge()(np.array([1, 2]), scores))
    0.75
    """

    def __init__(
        self,
        margin: float = 1.0,
        power: int = 1,
        class_weight: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(class_weight=class_weight, **kwargs)
        self.margin = checks.number("margin", margin, minimum=0)
        self.power = _check_power(power)

    def values(self, ids: Any, y_pred: Any) -> Any:
        """Return the values of the examples, without weights."""
        return _multi_class_hinge(ids, y_pred, self.margin, self.power)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "margin": self.margin,
            "power": self.power,
            "class_weight": self.class_weight,
        }


def multi_label_margin(y_true: Any, y_pred: Any, margin: float = 1.0) -> Any:
    """Margin between the scores of an example's classes and all others, one value per example.

    With P(i) the classes of example i, N(i) the others and C their number together:

        l(i) = 1/C Σ_{j ∈ P(i)} Σ_{k ∈ N(i)} max(0, m - s_ij + s_ik)

    An example of no class, or of all, has the value 0. The memory is that of
    `(n, ..., classes, classes)` numbers.

    Args:
        y_true: 1 for the classes of an example, 0 for others, `(n, ..., classes)`.
        y_pred: scores of the same shape, floating-point.
        margin: m, at least 0.

    Returns:
        Tensor of shape `(n, ...)`, at least float32.

    Raises:
        ValueError: if the shapes differ, or `margin` is negative.
        TypeError: if `y_pred` are not floating-point, or `margin` is not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> labels, scores = np.array([[1, 0, 1, 0]]), np.array([[2.0, 1.0, 0.5, -3.0]])
    >>> losses.multi_label_margin(labels, scores).numpy().tolist()  # 1.5 / 4
    [0.375]

    Reference:
        - [Elisseeff & Weston, A Kernel Method for Multi-Labelled
          Classification](https://papers.nips.cc/paper/1964-a-kernel-method-for-multi-labelled-classification)
    """
    margin = checks.number("margin", margin, minimum=0)
    check_same_shape(y_true, y_pred)
    labels, scores = aligned(y_true, y_pred)
    is_pair = ops.logical_and(labels[..., :, None] > 0, labels[..., None, :] <= 0)
    terms = ops.relu(margin - scores[..., :, None] + scores[..., None, :])
    terms = ops.where(is_pair, terms, ops.zeros_like(terms))
    return ops.sum(terms, axis=(-2, -1)) / ops.cast(ops.shape(scores)[-1], terms.dtype)


@keras.saving.register_keras_serializable(package="keras_ssl")
class MultiLabelMargin(SupervisedLoss):
    """Margin between an example's classes and all others, PyTorch's `MultiLabelMarginLoss`.

    See `keras_ssl.losses.multi_label_margin` for the formula, errors and reference. Labels are 0
    and 1 for each class, as in `keras.losses.BinaryCrossentropy`, where PyTorch takes lists of ids
    that end in -1.

    Args:
        margin: m, a float of at least 0. PyTorch's is always 1.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: 1 for the classes of an example, 0 for others, `(batch, ..., classes)`.
        y_pred: scores of the same shape.
        sample_weight: optional weights, `(batch,)` or `(batch, ...)`.

    Returns:
        The mean over the examples, or their `(batch, ...)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> labels, scores = np.array([[1, 0, 1, 0]]), np.array([[2.0, 1.0, 0.5, -3.0]])
    >>> float(losses.MultiLabelMargin()(labels, scores))
    0.375
    """

    def __init__(self, margin: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.margin = checks.number("margin", margin, minimum=0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return multi_label_margin(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "margin": self.margin}
