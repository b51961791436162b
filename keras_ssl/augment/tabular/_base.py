"""Base of the layers on tables."""

from typing import Any

from keras import ops

from keras_ssl import distribute
from keras_ssl.augment._tensors import check_tensor
from keras_ssl.augment.augmentation import Augmentation


class TabularAugmentation(Augmentation):
    """Random operation on a batch of rows `(batch, features)`."""

    def check_inputs(self, inputs: Any) -> None:
        """Raise unless the inputs are a batch of rows."""
        check_tensor(self, inputs, "a table of shape (batch, features)", (2,))


def batch_mean(x: Any) -> Any:
    """Mean of each feature over the global batch, `(1, features)`."""
    rows = ops.shape(x)[0] * distribute.replica_count()
    total = distribute.all_reduce_sum(ops.sum(x, axis=0, keepdims=True))
    return total / ops.cast(rows, x.dtype)
