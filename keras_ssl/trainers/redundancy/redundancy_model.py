"""What methods of redundancy reduction share: both views' projections, and statistics of them."""

from typing import Any

from keras_ssl.trainers.batch import Batch
from keras_ssl.trainers.joint_embedding import JointEmbedding


class RedundancyModel(JointEmbedding):
    """Base of methods whose loss is one of a batch's statistics; takes what its base takes."""

    minimum_batch = 2  # a single example has no variance

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the projections of both views, and the representation of the first."""
        (h_1, z_1), (_, z_2) = (self.project(view, training) for view in batch.views)
        return {"z_1": z_1, "z_2": z_2, "representation": h_1}
