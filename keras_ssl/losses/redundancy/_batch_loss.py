"""What losses of a whole batch's statistics have in common."""

from typing import Any

from keras_ssl.losses._checks import check_views, is_single_example
from keras_ssl.losses._float32_loss import Float32Loss


class BatchLoss(Float32Loss):
    """Base of the losses that are one number of the global batch, not a mean over examples.

    There is no reduction and there are no weights of examples. A subclass's `call` returns its
    number as a tensor of shape `(1,)`, equal on all replicas, which Keras divides by their number.

    Args:
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Example:

    >>> from keras_ssl.losses.redundancy._batch_loss import BatchLoss
    >>> sorted(BatchLoss().get_config())
    ['dtype', 'name']
    """

    def __init__(self, name: str | None = None, dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def __call__(self, z1: Any, z2: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of two views."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} is a loss of the batch's statistics and does not weigh "
                "examples. Expected no `sample_weight`. Received: sample_weight="
                f"{sample_weight!r}"
            )
        # before Keras casts, which would hide integers
        check_views(z1, z2)
        return super().__call__(z1, z2)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["reduction"]
        return config


def check_has_statistics(z1: Any) -> None:
    """Raise if the replicas together hold a single example, which has no variance.

    Args:
        z1: this replica's embeddings of one view, `(batch, dim)`.

    Raises:
        ValueError: if the batch size is known and that of all replicas below 2.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.redundancy._batch_loss import check_has_statistics
    >>> check_has_statistics(np.zeros((2, 8), "float32"))
    """
    if is_single_example(z1):
        raise ValueError(
            "A loss of statistics over the batch needs at least 2 examples over all replicas. "
            f"Received: z1.shape={tuple(z1.shape)}"
        )
