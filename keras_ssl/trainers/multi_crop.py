"""What SwAV and DINO share: a few global views of an image and any number of local ones."""

from collections.abc import Callable
from itertools import groupby
from typing import Any

from keras import ops

from keras_ssl.trainers.checks import check_crops
from keras_ssl.trainers.joint_embedding import JointEmbedding


def call_by_size(function: Callable[[Any], Any], views: Any) -> list[Any]:
    """Call a network on views, once for all views of one size that follow each other.

    One call on many images costs less than many calls, and batch normalisation then sees all
    crops of a size together, as in the published code of SwAV and DINO.

    Args:
        function: from a batch of images to a tensor with one row an image.
        views: batches of images, of one batch size.

    Returns:
        A list of what it gives, one tensor a view.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.trainers.multi_crop import call_by_size
    >>> views = [np.ones((4, 32, 32, 3))] * 2 + [np.ones((4, 16, 16, 3))] * 6
    >>> outputs = call_by_size(lambda view: view[:, 0, 0], views)
    >>> len(outputs), outputs[-1].shape
    (8, TensorShape([4, 3]))
    """
    outputs = []
    for _, group in groupby(views, key=lambda view: tuple(view.shape[1:])):
        group = list(group)
        if len(group) == 1:
            outputs.append(function(group[0]))
        else:
            outputs += ops.split(function(ops.concatenate(group, axis=0)), len(group))
    return outputs


class MultiCrop(JointEmbedding):
    """Base of methods whose views are of several sizes; takes what its base takes.

    The first `global_count` views are the global ones, of one size. The others are local: no
    larger, and what they show is a small part of the image.
    """

    global_count = 2

    def check_views(self, views: Any) -> None:
        """Raise unless the first views are global ones of one size, and no other is larger."""
        check_crops(views, self.global_count, getattr(self.encoder, "input_shape", None))

    def project_crops(self, views: Any, training: bool) -> tuple[list[Any], list[Any]]:
        """Return the representation and the projection of every view."""
        h = call_by_size(lambda view: self.represent(view, training), views)
        # the features of all views have one width, so the projector is called once
        z = self.projector(ops.concatenate(h, axis=0), training=training)
        return h, ops.split(z, len(h))
