"""What an online probe predicts: classes, several labels at once, or numbers."""

import re
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.trainers._class_labels import class_labels


class _BalancedAccuracy(keras.metrics.Metric):
    """Mean over the classes that occur of the fraction of their examples that are found."""

    def __init__(self, classes: int, name: str):
        super().__init__(name=name)
        self.classes = classes
        self.hits = self.add_variable((classes,), "zeros", name="hits")
        self.examples = self.add_variable((classes,), "zeros", name="examples")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        of_class = ops.one_hot(y_true, self.classes, dtype=self.dtype)
        if sample_weight is not None:
            of_class = of_class * ops.cast(sample_weight, self.dtype)[:, None]
        is_hit = ops.cast(ops.equal(ops.argmax(y_pred, axis=-1), y_true), self.dtype)
        self.hits.assign_add(ops.sum(of_class * is_hit[:, None], axis=0))
        self.examples.assign_add(ops.sum(of_class, axis=0))

    def result(self) -> Any:
        recall = ops.divide_no_nan(self.hits, self.examples)
        occurs = ops.cast(self.examples > 0, self.dtype)
        return ops.divide_no_nan(ops.sum(recall * occurs), ops.sum(occurs))


class Classification:
    """One class per row; -1 stands for a missing label.

    Args:
        units: number of classes.
        class_weight: a weight for each class, or `None`.
    """

    default_metrics = ("accuracy",)
    minimum_units = 2
    expected = "integer labels"

    def __init__(self, units: int, class_weight: Any = None):
        self.units = units
        self.class_weight = _check_class_weight(class_weight, units)

    def fits(self, y: Any, shapes: list[tuple]) -> bool:
        """Whether labels have the right dtype, and one of the shapes or a last axis of length 1."""
        shape = tuple(y.shape)
        fits = any(len(shape) == len(one) for one in shapes) or (
            shape[-1:] == (1,) and any(len(shape) == len(one) + 1 for one in shapes)
        )
        return fits and keras.backend.is_int_dtype(keras.backend.standardize_dtype(y.dtype))

    def read(self, y: Any) -> tuple[Any, Any, Any]:
        """Return targets, float weights that are 0 where the label is missing, and the fault."""
        labels, is_known, fault = class_labels(y, self.units)
        return labels, ops.cast(is_known, "float32"), fault

    def loss(self, targets: Any, outputs: Any) -> tuple[Any, Any]:
        """Return the loss of each row and its weight."""
        losses = keras.losses.sparse_categorical_crossentropy(targets, outputs, from_logits=True)
        if self.class_weight is None:
            return losses, 1.0
        return losses, ops.take(ops.convert_to_tensor(self.class_weight, "float32"), targets)

    def metric(self, name: str) -> keras.metrics.Metric | None:
        """Make the metric of a name; `None` if there is none."""
        top = re.fullmatch(r"top_(\d+)_accuracy", name)
        if name == "accuracy":
            return keras.metrics.SparseCategoricalAccuracy(name=f"probe_{name}")
        if name == "balanced_accuracy":
            return _BalancedAccuracy(self.units, name=f"probe_{name}")
        if top is not None:
            return keras.metrics.SparseTopKCategoricalAccuracy(int(top[1]), name=f"probe_{name}")
        return None

    metric_names = ("accuracy", "balanced_accuracy", "top_5_accuracy")

    def for_metrics(self, targets: Any, outputs: Any, weights: Any) -> tuple[Any, Any, Any]:
        """Return targets, outputs and weights as metrics get them."""
        return targets, outputs, weights


class _Numbers:
    """Base of tasks with a number per row and unit."""

    minimum_units = 1

    def __init__(self, units: int, class_weight: Any = None):
        self.units = units
        if class_weight is not None:
            raise ValueError(
                "`class_weight` belongs to `task='classification'`. "
                f"Received: class_weight={class_weight}"
            )
        self.class_weight = None

    def fits(self, y: Any, shapes: list[tuple]) -> bool:
        """Whether labels have a last axis of units, which may be left out for a single one."""
        shape, dtype = tuple(y.shape), keras.backend.standardize_dtype(y.dtype)
        wanted = [len(one) + 1 for one in shapes]
        fits = len(shape) in wanted and shape[-1] in (self.units, None)
        fits = fits or (self.units == 1 and any(len(shape) == len(one) for one in shapes))
        return fits and dtype != "string"


class MultiLabel(_Numbers):
    """Any number of labels per row, 0 or 1 for each class; -1 stands for one that is not known."""

    default_metrics = metric_names = ("accuracy",)
    expected = "zeros and ones"

    def read(self, y: Any) -> tuple[Any, Any, Any]:
        """Return targets, float weights that are 0 where the label is missing, and the fault."""
        y = ops.reshape(ops.cast(y, "float32"), (-1, self.units))
        is_known = ops.not_equal(y, -1.0)
        is_valid = ops.logical_or(ops.logical_not(is_known), ops.logical_or(y == 0.0, y == 1.0))
        fault = ops.cast(ops.where(ops.all(is_valid), 0.0, float("nan")), "float32")
        return ops.clip(y, 0.0, 1.0), ops.cast(is_known, "float32"), fault

    def loss(self, targets: Any, outputs: Any) -> tuple[Any, Any]:
        """Return the loss of each label and its weight."""
        return ops.binary_crossentropy(targets, outputs, from_logits=True), 1.0

    def metric(self, name: str) -> keras.metrics.Metric | None:
        """Make the metric of a name; `None` if there is none."""
        if name != "accuracy":
            return None
        return keras.metrics.BinaryAccuracy(name="probe_accuracy", threshold=0.0)

    def for_metrics(self, targets: Any, outputs: Any, weights: Any) -> tuple[Any, Any, Any]:
        """Return all labels of all rows one below the other."""
        return *(ops.reshape(one, (-1, 1)) for one in (targets, outputs)), ops.reshape(weights, -1)


class Regression(_Numbers):
    """Numbers; NaN stands for a missing one, with which the whole row is left out."""

    default_metrics = metric_names = ("r2",)
    expected = "numbers"

    def read(self, y: Any) -> tuple[Any, Any, Any]:
        """Return targets, float weights that are 0 where a number is missing, and no fault."""
        y = ops.reshape(ops.cast(y, "float32"), (-1, self.units))
        is_known = ops.logical_not(ops.isnan(y))
        whole = ops.cast(ops.all(is_known, axis=-1), "float32")
        return ops.where(is_known, y, ops.zeros_like(y)), whole, 0.0

    def loss(self, targets: Any, outputs: Any) -> tuple[Any, Any]:
        """Return the squared error of each row and its weight."""
        return ops.mean(ops.square(outputs - targets), axis=-1), 1.0

    def metric(self, name: str) -> keras.metrics.Metric | None:
        """Make the metric of a name; `None` if there is none."""
        return keras.metrics.R2Score(name="probe_r2") if name == "r2" else None

    def for_metrics(self, targets: Any, outputs: Any, weights: Any) -> tuple[Any, Any, Any]:
        """Return targets, outputs and weights as metrics get them."""
        return targets, outputs, weights


TASKS = {"classification": Classification, "multi_label": MultiLabel, "regression": Regression}


def _check_class_weight(class_weight: Any, classes: int) -> list[float] | None:
    """Return one weight per class, 1 for those that are not named."""
    if class_weight is None:
        return None
    if isinstance(class_weight, Mapping):
        named = {int(one): weight for one, weight in class_weight.items()}
        unknown = [one for one in named if not 0 <= one < classes]
        if unknown:
            raise ValueError(
                f"`class_weight` must name classes in 0..{classes - 1}. Received: {unknown}"
            )
        class_weight = [named.get(one, 1.0) for one in range(classes)]
    if len(class_weight) != classes:
        raise ValueError(
            f"`class_weight` must hold one weight for each of {classes} classes. "
            f"Received: {len(class_weight)}"
        )
    return [checks.number("class_weight", one, minimum=0) for one in class_weight]
