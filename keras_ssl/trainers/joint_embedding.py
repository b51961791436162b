"""What methods share that compare views of an example: encoder, projector, loss."""

from collections.abc import Callable
from itertools import groupby
from typing import Any

import keras
from keras import ops

from keras_ssl.layers import Prototypes
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import (
    check_crops,
    check_features,
    check_prediction,
    check_type,
    check_views,
)
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import concatenate


class JointEmbedding(SelfSupervisedModel):
    """Base of methods with views of an example, an encoder, a projector and a loss.

    Whether views go through the networks together, and share the statistics of batch
    normalisation, is up to the method: SimCLR projects both at once, others one at a time.

    Args:
        encoder: `keras.Model` or layer that maps a batch of a view, any structure of tensors that
            it takes, to `(batch, features)`.
        projector: layer that maps features to embeddings.
        augment: layer that makes the views of a batch; `None` means that the data holds them.
        loss: loss of embeddings.
        predictor: layer that maps a projection to one of the same width, for methods that predict
            one view's projection from the other's.
        **kwargs: `name`, `dtype` of the model.

    Raises:
        TypeError: if a part is not a Keras object of its kind.
    """

    view_count = 2

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer,
        augment: keras.layers.Layer | None,
        loss: keras.losses.Loss,
        predictor: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("projector", projector, keras.layers.Layer)
        check_type("loss", loss, keras.losses.Loss)
        self.projector = projector
        self.loss_function = loss
        if predictor is not None:
            check_type("predictor", predictor, keras.layers.Layer)
            self.predictor = predictor

    def check_views(self, views: Any) -> None:
        """Raise unless there are two views of one structure."""
        check_views(views, self.view_count)

    def check_representation(self, features: Any) -> None:
        """Raise unless the encoder returns one vector per example."""
        check_features(features)

    def project(self, view: Any, training: bool) -> tuple[Any, Any]:
        """Return the representation of a batch of views and its projection."""
        h = self.encoder(view, training=training)
        return h, self.projector(h, training=training)

    def predict_from(self, z: Any, training: bool) -> Any:
        """Return the prediction made from a projection, checked to be as wide as that."""
        p = self.predictor(z, training=training)
        check_prediction(p, z)
        return p

    def monitored_outputs(self, h: Any) -> dict[str, Any]:
        """Return what the loss compares, computed from a representation in inference mode.

        `callbacks.CollapseMonitor` watches it. By name, vectors whose directions tell examples
        apart as the loss sees them: the projection, or if the method has `prototypes`, the
        assignment to them, with the temperature of DINO's teacher. Next to prototypes the
        projection is not watched: DINO's centre subtracts what all projections have in common.

        Args:
            h: representations of a batch, `(batch, features)`, or of the parts of its examples,
                `(batch, parts, features)`.

        Returns:
            Tensors with one row per representation, by name.
        """
        z = self.projector(ops.reshape(h, (-1, h.shape[-1])), training=False)
        prototypes = getattr(self, "prototypes", None)
        if not isinstance(prototypes, Prototypes):
            return {"projection": z}
        return {"assignment": ops.softmax(ops.cast(prototypes(z), "float32") / 0.04)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = {"projector": self.projector, "loss": self.loss_function}
        if hasattr(self, "predictor"):
            parts["predictor"] = self.predictor
        return {**super().get_config(), **serialize_parts(**parts)}


class MultiCrop(JointEmbedding):
    """Base of methods whose views are of several sizes; takes what its base takes.

    The first `global_count` views are the global ones, of one size. The others are local: no
    larger, and what they show is a small part of the example.
    """

    global_count = 2

    def check_views(self, views: Any) -> None:
        """Raise unless the first views are global ones of one size, and no other is larger."""
        check_crops(views, self.global_count, getattr(self.encoder, "input_shape", None))

    def project_crops(self, views: Any, training: bool) -> tuple[list[Any], list[Any]]:
        """Return the representation and the projection of every view."""
        h = call_by_size(lambda view: self.encoder(view, training=training), views)
        for features in h:
            check_features(features)
        # the features of all views have one width, so the projector is called once
        z = self.projector(ops.concatenate(h, axis=0), training=training)
        return h, ops.split(z, len(h))


def call_by_size(function: Callable[[Any], Any], views: Any) -> list[Any]:
    """Call a network on views, once for all views of one size that follow each other.

    One call on many examples costs less than many calls, and batch normalisation then sees all
    crops of a size together, as in the published code of SwAV and DINO.

    Args:
        function: maps a batch of views to a tensor with one row per view.
        views: batches of views, of one batch size.

    Returns:
        A list of what it returns, one tensor for each view.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.trainers.joint_embedding import call_by_size
    >>> views = [np.ones((4, 32, 32, 3))] * 2 + [np.ones((4, 16, 16, 3))] * 6
    >>> outputs = call_by_size(lambda view: view[:, 0, 0], views)
    >>> len(outputs), outputs[-1].shape
    (8, TensorShape([4, 3]))
    """

    def sizes(view: Any) -> list[tuple]:
        return [tuple(leaf.shape[1:]) for leaf in keras.tree.flatten(view)]

    outputs = []
    for _, group in groupby(views, key=sizes):
        group = list(group)
        if len(group) == 1:
            outputs.append(function(group[0]))
        else:
            outputs += ops.split(function(concatenate(group)), len(group))
    return outputs
