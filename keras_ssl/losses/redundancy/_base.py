"""What the losses of batch statistics share."""

from typing import Any

from keras import ops

from keras_ssl import distribute
from keras_ssl.losses._base import BatchLoss
from keras_ssl.losses._checks import are_compatible, check_matrix, check_views, is_single_example


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


class ManyViewsLoss(BatchLoss):
    """Base of the losses of batch statistics of any number of views."""

    def __call__(self, views: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of views."""
        return self.compute(views, (), sample_weight)

    def compute(self, views: Any, others: tuple, sample_weight: Any = None) -> Any:
        """Compute the loss of views and of other tensors, which `call` gets in a tuple."""
        views = split_views(views)  # before the cast, which would hide integers
        return super().__call__(views, others, sample_weight)


def split_views(views: Any) -> list[Any]:
    """Return validated views as a list, of a list or of one tensor `(views, batch, dim)`."""
    if not isinstance(views, (list, tuple)):
        shape = tuple(getattr(views, "shape", ()))
        if len(shape) != 3 or shape[0] is None:
            raise ValueError(
                "`views` must be a list of embeddings (batch, dim), or one tensor (views, batch, "
                f"dim). Received: {type(views).__name__}" + (f" of shape {shape}" if shape else "")
            )
        views = [views[view] for view in range(shape[0])]
    if len(views) < 2:
        raise ValueError(f"The loss compares at least 2 views. Received: {len(views)} in `views`")
    views = [check_matrix(view, f"views[{number}]") for number, view in enumerate(views)]
    shapes = [tuple(view.shape) for view in views]
    if not are_compatible(*shapes):
        raise ValueError(
            "All `views` must have the same shape: row i of each belongs to example i. "
            f"Received shapes: {shapes}"
        )
    if is_single_example(views[0]):
        raise ValueError(
            "A loss of batch statistics needs at least 2 examples over all replicas. "
            f"Received: views[0].shape={shapes[0]}"
        )
    return views


def global_view_list(views: Any) -> list[Any]:
    """Validate views and gather them from all replicas, at once."""
    views = split_views(views)
    if distribute.replica_count() == 1:
        return views
    gathered = distribute.all_gather(ops.stack(views, axis=1))
    return ops.unstack(gathered, num=len(views), axis=1)
