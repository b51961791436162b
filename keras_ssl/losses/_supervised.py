"""Bases of the losses of labels and predictions, and checks of what these receive.

They are called as Keras' own losses, `loss(y_true, y_pred, sample_weight)`, but derive from the
base of this package: it computes in at least float32 under mixed precision, and looks at the
inputs before Keras casts them, which would hide integers, and before shapes broadcast.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl._keras_internals import set_mask
from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses._checks import are_compatible, check_dtype


class SupervisedLoss(Float32Loss):
    """Base of the losses of labels and predictions. A subclass may define `check`.

    Args:
        **kwargs: `reduction`, `name`, `dtype`, as of `keras.losses.Loss`.
    """

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of labels and predictions."""
        y_true, y_pred = as_array(y_true), as_array(y_pred)
        self.check(y_true, y_pred)
        return super().__call__(y_true, y_pred, sample_weight=sample_weight)

    def check(self, y_true: Any, y_pred: Any) -> None:
        """Raise an error unless labels and predictions belong together."""
        check_same_shape(y_true, y_pred)


class ClassLoss(SupervisedLoss):
    """Base of the losses of class ids and one score per class, in which classes have weights.

    Weights of classes are weights of their examples, as in `fit(class_weight=...)`. A subclass
    defines `values(ids, y_pred)`.

    Args:
        class_weight: a weight for each class, or `None`.
        **kwargs: `reduction`, `name`, `dtype`, as of `keras.losses.Loss`.
    """

    ignore_class = None

    def __init__(self, class_weight: Sequence[float] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.class_weight = _check_class_weight(class_weight)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of class ids and scores."""
        y_true, y_pred = as_array(y_true), as_array(y_pred)
        self.check(y_true, y_pred)
        if self.class_weight is not None:
            ids = class_ids(y_true, y_pred)
            if self.ignore_class is not None:
                ids = ops.where(ids == self.ignore_class, 0, ids)
            ids, _ = real_classes(ids, y_pred)  # a class that is none is told by `values`
            weights = ops.take(ops.convert_to_tensor(self.class_weight, self.dtype), ids)
            if sample_weight is not None:
                given = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
                if len(given.shape) > len(weights.shape):
                    given = ops.squeeze(given, axis=-1)
                while len(given.shape) < len(weights.shape):
                    given = ops.expand_dims(given, axis=-1)
                weights = weights * given
            sample_weight = weights
        return super().__call__(y_true, y_pred, sample_weight=sample_weight)

    def check(self, y_true: Any, y_pred: Any) -> None:
        """Raise an error unless there is a class id for each row of scores."""
        check_class_ids(y_true, y_pred)
        classes = y_pred.shape[-1]
        if self.class_weight is not None and classes not in (None, len(self.class_weight)):
            raise ValueError(
                "`class_weight` must hold one number for each class of `y_pred`. Received: "
                f"class_weight with {len(self.class_weight)} numbers, "
                f"y_pred.shape={tuple(y_pred.shape)}"
            )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the examples, without weights, before the reduction."""
        # Keras has cast ids to float32, exact up to 2^24
        ids = class_ids(ops.cast(y_true, "int32"), y_pred)
        values = self.values(ids, y_pred)
        if self.ignore_class is not None:
            # Keras takes the mean over the examples that are not masked
            set_mask(values, ids != self.ignore_class)
        return values

    def values(self, ids: Any, y_pred: Any) -> Any:
        """Return the values of the examples, without weights."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "class_weight": self.class_weight}


def _check_class_weight(value: Any) -> list[float] | None:
    if value is None:
        return None
    if isinstance(value, (str, dict)) or not hasattr(value, "__len__"):
        raise TypeError(
            "`class_weight` must be a sequence with one number for each class, or None. "
            f"Received: class_weight={value!r} of type {type(value).__name__}"
        )
    return [checks.number(f"class_weight[{n}]", one, minimum=0) for n, one in enumerate(value)]


def class_ids(y_true: Any, y_pred: Any) -> Any:
    """Return ids as int32 with one axis less than `y_pred`; they may have a last axis of 1."""
    ids = ops.cast(ops.convert_to_tensor(y_true), "int32")
    return ops.squeeze(ids, axis=-1) if len(ids.shape) == len(as_array(y_pred).shape) else ids


def real_classes(ids: Any, y_pred: Any) -> tuple[Any, Any]:
    """Return ids, with 0 for those that are no class, and what to add to their values: NaN.

    Otherwise -1 would count as the last class, and ids beyond it as any. A step under XLA cannot
    raise an error. The gradient stays finite.
    """
    is_class = ops.logical_and(ids >= 0, ids < ops.shape(y_pred)[-1])
    return ops.where(is_class, ids, 0), ops.where(is_class, 0.0, float("nan"))


def check_class_ids(y_true: Any, y_pred: Any) -> None:
    """Raise an error unless there is an integer for each row of at least one score."""
    shape = tuple(check_dtype(y_pred, "y_pred").shape)
    ids = tuple(check_dtype(y_true, "y_true", "integer").shape)
    if len(shape) < 2:
        raise ValueError(
            f"`y_pred` must have shape (batch, ..., classes). Received: y_pred.shape={shape}"
        )
    rows = ids[:-1] if len(ids) == len(shape) and ids[-1] == 1 else ids
    if not are_compatible(rows, shape[:-1]):
        raise ValueError(
            "`y_true` must hold one class id for each row of `y_pred`, in the shape (batch, ...) "
            f"or (batch, ..., 1). Received: y_true.shape={ids}, y_pred.shape={shape}"
        )


def check_same_shape(y_true: Any, y_pred: Any) -> None:
    """Raise an error unless there is a target for each prediction; a last axis of 1 may differ."""
    shape = tuple(check_dtype(y_pred, "y_pred").shape)
    targets = tuple(check_not_none(y_true, "y_true").shape)
    if not shape or not are_compatible(*_without_last_one(targets, shape)):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape, (batch, ...). Received: "
            f"y_true.shape={targets}, y_pred.shape={shape}"
        )


def check_stack(y_pred: Any, count: int, of_vectors: bool, of_what: str) -> None:
    """Raise an error unless axis 1 holds `count` vectors or numbers that belong together."""
    shape = tuple(check_dtype(y_pred, "y_pred").shape)
    if len(shape) != 2 + of_vectors or shape[1] not in (None, count):
        axes = f"(batch, {count}, dim)" if of_vectors else f"(batch, {count})"
        raise ValueError(
            f"`y_pred` must have shape {axes}: {of_what}, for instance "
            f"`ops.stack([...], axis=1)`. Received: y_pred.shape={shape}"
        )


def check_signs(y_true: Any, y_pred: Any) -> None:
    """Raise an error unless there is one label for each row of `y_pred`."""
    labels, shape = tuple(check_not_none(y_true, "y_true").shape), tuple(as_array(y_pred).shape)
    rows = labels[:1] if len(labels) == 2 and labels[1] == 1 else labels
    if not are_compatible(rows, shape[:1]):
        raise ValueError(
            "`y_true` must hold one label for each row of `y_pred`, in the shape (batch,) or "
            f"(batch, 1). Received: y_true.shape={labels}, y_pred.shape={shape}"
        )


def check_not_none(x: Any, name: str) -> Any:
    """Return `x`, of any dtype, as something with a shape and a dtype."""
    if x is None:
        raise ValueError(f"`{name}` must be a tensor. Received: {name}=None")
    return as_array(x)


def as_array(x: Any) -> Any:
    """Return numbers, such as lists, as something with a shape and a dtype; `None` as it is."""
    has_shape = x is None or (hasattr(x, "dtype") and hasattr(x, "shape"))
    return x if has_shape else ops.convert_to_tensor(x)


def aligned(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Return both in one dtype, at least float32, targets in the shape of the predictions."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    dtype = keras.backend.result_type(y_pred.dtype, "float32")
    y_true, y_pred = ops.cast(y_true, dtype), ops.cast(y_pred, dtype)
    if len(y_true.shape) != len(y_pred.shape):
        y_true = ops.reshape(y_true, ops.shape(y_pred))
    return y_true, y_pred


def signs(y_true: Any, dtype: str) -> Any:
    """Return 1 for labels above 0, and -1 for 0 and those below."""
    y_true = ops.convert_to_tensor(y_true)
    return ops.cast(ops.cast(y_true, "float32") > 0, dtype) * 2 - 1


def row_signs(y_true: Any, y_pred: Any) -> Any:
    """Return one sign for each row of `y_pred`, `(batch,)`."""
    return ops.reshape(signs(y_true, y_pred.dtype), (-1,))


def mean_of_rows(terms: Any) -> Any:
    """Return the mean over the last axis, as Keras' losses do; of rank 1 the terms themselves."""
    return ops.mean(terms, axis=-1) if len(terms.shape) > 1 else terms


def _without_last_one(first: tuple, second: tuple) -> tuple[tuple, tuple]:
    if len(first) == len(second) + 1 and first[-1] == 1:
        return first[:-1], second
    if len(second) == len(first) + 1 and second[-1] == 1:
        return first, second[:-1]
    return first, second
