"""Class labels in a training step, of which -1 means that an example has no label."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.trainers.engine.assertions import assert_in_range

UNLABELLED = -1


def class_labels(y: Any, classes: int) -> tuple[Any, Any, Any]:
    """Split labels into classes, which rows have one, and a number that is NaN for wrong labels.

    Args:
        y: integers of any shape, from 0 to `classes - 1`, or -1 for an example without a label.
        classes: the number of classes.

    Returns:
        `(labels, is_known, fault)`: int32 labels of shape `(rows,)`, where 0 stands for a missing
        one; which of them are known; and 0, or NaN if a label lies outside of the range. Added to
        a loss, `fault` makes the loss NaN but not its gradient. Without XLA the step fails.
    """
    y = ops.reshape(ops.cast(y, "int32"), (-1,))
    message = f"Labels must lie in 0..{classes - 1}, or be -1 for an example without a label."
    y = assert_in_range(y - UNLABELLED, classes - UNLABELLED, message) + UNLABELLED
    is_valid = ops.logical_and(y >= UNLABELLED, y < classes)
    fault = ops.cast(ops.where(ops.all(is_valid), 0.0, float("nan")), "float32")
    return ops.clip(y, 0, classes - 1), ops.not_equal(y, UNLABELLED), fault


def mean_over_replicas(values: Any, weights: Any) -> Any:
    """Return this replica's share of the weighted mean over all replicas; 0 if no weight is left.

    The shares of all replicas add up to the mean.
    """
    total = distribute.all_reduce_sum(ops.sum(weights))
    return ops.divide_no_nan(ops.sum(values * weights), total)


def weights_of_labelled(is_known: Any) -> Any:
    """Return weights of the examples of this replica, with a mean of 1 over those of all replicas.

    Examples without a label weigh nothing, so the mean over all examples of values that are
    weighted is the mean over the labelled ones; 0 if there are none.
    """
    known = ops.cast(is_known, "float32")
    examples = ops.cast(ops.size(known), "float32") * distribute.replica_count()
    return known * ops.divide_no_nan(examples, distribute.all_reduce_sum(ops.sum(known)))


def are_class_labels(y: Any) -> bool:
    """Return whether labels are integers `(batch,)` or `(batch, 1)`."""
    shape = getattr(y, "shape", None)
    if shape is None or not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        return False
    return keras.backend.is_int_dtype(keras.backend.standardize_dtype(y.dtype))
