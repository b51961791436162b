"""What the losses of batch statistics share."""

from typing import Any

from keras_ssl import distribute
from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses._checks import check_views, is_single_example


class BatchLoss(Float32Loss):
    """Base of the losses that are one number for the global batch, not a mean over examples.

    There is neither a reduction nor a sample weight. A subclass's `call` returns its number as a
    tensor of shape `(1,)`, equal on all replicas, which Keras divides by their number.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def __call__(self, z1: Any, z2: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of two views."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} is a loss of batch statistics and does not weigh examples. "
                f"Expected no `sample_weight`. Received: sample_weight={sample_weight!r}"
            )
        check_views(z1, z2)
        return super().__call__(z1, z2)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["reduction"]
        return config


def global_views(z1: Any, z2: Any) -> list[Any]:
    """Validate two views and gather each from all replicas."""
    check_views(z1, z2)
    if is_single_example(z1):
        raise ValueError(
            "A loss of batch statistics needs at least 2 examples over all replicas. "
            f"Received: z1.shape={tuple(z1.shape)}"
        )
    return [distribute.all_gather(z) for z in (z1, z2)]
