"""What the losses of batch statistics share."""

from typing import Any

from keras_ssl import distribute
from keras_ssl.losses._base import BatchLoss
from keras_ssl.losses._checks import check_views, is_single_example


class TwoViewsLoss(BatchLoss):
    """Base of the losses of batch statistics of two views."""

    def __call__(self, z1: Any, z2: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of two views."""
        check_views(z1, z2)  # before the cast, which would hide integers
        return super().__call__(z1, z2, sample_weight)


def global_views(z1: Any, z2: Any) -> list[Any]:
    """Validate two views and gather each from all replicas."""
    check_views(z1, z2)
    if is_single_example(z1):
        raise ValueError(
            "A loss of batch statistics needs at least 2 examples over all replicas. "
            f"Received: z1.shape={tuple(z1.shape)}"
        )
    return [distribute.all_gather(z) for z in (z1, z2)]
