"""Numbers of the classes that occur in a batch."""

from typing import Any

from keras import ops

from keras_ssl import distribute


def class_numbers(labels: Any) -> Any:
    """Number the classes that occur in the labels of all replicas from 0; int32 `(n,)`."""
    labels = ops.reshape(ops.convert_to_tensor(labels), (-1,))
    count = ops.shape(labels)[0]
    labels = distribute.all_gather(labels)
    order = ops.argsort(labels)
    ordered = ops.take(labels, order)
    # each example without a label is a class of its own
    is_new = ops.logical_or(ops.not_equal(ordered[1:], ordered[:-1]), ops.equal(ordered[1:], -1))
    is_new = ops.cast(is_new, "int32")
    first = ops.zeros((1,), "int32")
    numbers = ops.cumsum(ops.concatenate([first, is_new], axis=0), axis=0)
    return distribute.local_rows(ops.take(numbers, ops.argsort(order)), count)
