"""Base of methods whose loss compares any number of views."""

from typing import Any

from keras import ops

from keras_ssl.trainers.checks import check_views
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.step import Batch


class ManyViews(JointEmbedding):
    """Base of methods whose loss takes the projections of two or more views as one list."""

    view_count = None
    minimum_batch = 2  # a single example has no statistics

    def check_views(self, views: Any) -> None:
        """Raise unless there are two or more views of the same structure."""
        count = len(views) if isinstance(views, (tuple, list)) else 0
        check_views(views, max(2, count))

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the projections of all views, and the representation of the first."""
        h, z = zip(*(self.project(view, training) for view in batch.views), strict=True)
        # one row per example: (batch, views, dim)
        return {"z": ops.stack(z, axis=1), "representation": h[0]}
