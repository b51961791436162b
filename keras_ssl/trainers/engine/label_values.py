"""Checks of the values of class labels, before the step that would read them."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_ssl._tensorflow import is_dataset, is_operation_error
from keras_ssl.data._mapped_batches import MappedBatches

_WRONG = "Labels must be integers from 0 to the number of classes - 1, or -1 for no label"


def check_label_values(x: Any, y: Any, classes: float, name: str = "y") -> Any:
    """Check the class labels of data for `fit` or `evaluate`.

    Labels in arrays are checked at once. Those of a `tf.data.Dataset` or `PyDataset` are checked
    batch by batch, when a batch is read; `label_errors` makes errors of that readable.

    Args:
        x: data: arrays, or a dataset that holds the labels.
        y: labels of arrays, or `None`.
        classes: number of classes; infinity if any label of at least 0 is a class.
        name: name of the labels in messages.

    Returns:
        `x`, a dataset with the check added.

    Raises:
        ValueError: if labels in arrays are neither -1 nor classes.
    """
    if is_dataset(x):
        return _with_check(x, classes)
    if isinstance(x, keras.utils.PyDataset):
        return MappedBatches(x, functools.partial(_checked, classes=classes, name=name))
    if y is not None and not keras.tree.is_nested(y):
        _check(y, classes, name)
    return x


def _checked(batch: Any, classes: float, name: str) -> Any:
    y = keras.utils.unpack_x_y_sample_weight(batch)[1]
    if y is not None and not keras.tree.is_nested(y):
        _check(y, classes, name)
    return batch


def _check(y: Any, classes: float, name: str) -> None:
    y = np.asarray(y)
    wrong = y[(y < -1) | (y >= classes)] if y.dtype.kind in "iu" else y[:0]
    if wrong.size:
        raise ValueError(
            f"{_WRONG}: `{name}` must hold {_range(classes)}, or -1 for an example without a "
            f"label. Received: {wrong.size} others, such as {wrong.flat[0]}"
        )


def _range(classes: float) -> str:
    return "labels of at least 0" if classes == float("inf") else f"labels in 0..{classes - 1:g}"


def _with_check(data: Any, classes: float) -> Any:
    import tensorflow as tf

    spec = data.element_spec
    is_labelled = isinstance(spec, tuple) and len(spec) > 1 and isinstance(spec[1], tf.TensorSpec)
    if not is_labelled or not spec[1].dtype.is_integer:
        return data
    limit = spec[1].dtype.max if classes == float("inf") else min(classes - 1, spec[1].dtype.max)
    least = max(-1, spec[1].dtype.min)

    def check(*batch: Any) -> tuple:
        y = batch[1]
        outside = tf.boolean_mask(y, (y < least) | (y > limit))
        fine = tf.debugging.Assert(
            tf.equal(tf.size(outside), 0), [f"{_WRONG}: {_range(classes)}. Received:", outside]
        )
        with tf.control_dependencies([fine]):
            return batch[0], tf.identity(y), *batch[2:]

    return data.map(check)


@contextmanager
def label_errors() -> Iterator[None]:
    """Raise a `ValueError` where the check of a dataset's labels fails."""
    try:
        yield
    except Exception as error:
        if not is_operation_error(error) or _WRONG not in str(error):
            raise
        text = error.message[error.message.rindex(_WRONG) :]
        # TensorFlow writes what an assertion got as "[message] [values]"
        text = " ".join(text.partition("\n")[0].split()).replace("Received:]", "Received:")
        raise ValueError(text) from error
