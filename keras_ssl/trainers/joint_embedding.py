"""Bases of joint-embedding methods, which compare the embeddings of views of an example."""

from collections.abc import Callable
from itertools import groupby
from typing import Any

import keras
from keras import ops

from keras_ssl import augment
from keras_ssl.layers import Prototypes
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import (
    check_crops,
    check_features,
    check_prediction,
    check_type,
    check_views,
)
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import concatenate


class JointEmbedding(SelfSupervisedModel):
    """Base of methods with an encoder, a projector and a loss that compares views.

    A method decides whether views go through the networks together and share the statistics of
    batch normalisation, as in SimCLR, or one at a time.

    The encoder maps a batch, any structure of tensors, to `(batch, features)`; the projector maps
    features to embeddings. Methods that predict the projection of one view from another also have
    a predictor, which maps a projection to a vector of the same width.

    Args:
        encoder: layer or model from a batch to features.
        projector: layer from features to embeddings.
        augment: layer that makes a view of a batch, or `None`.
        loss: loss of the views' embeddings.
        predictor: layer from a projection to another one, or `None`.
        **kwargs: `name`, `dtype` of the model.
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
        """Raise unless there are two views of the same structure."""
        check_views(views, self.view_count)

    def check_representation(self, features: Any) -> None:
        """Raise unless the encoder returns one vector per example."""
        check_features(features)

    def project(self, view: Any, training: bool) -> tuple[Any, Any]:
        """Return the representation of a batch of views and its projection."""
        h = self.encoder(view, training=training)
        masked = self.input_kind.mask_padding(h, view, self.projector)
        return h, self.projector(masked, training=training)

    def predict_from(self, z: Any, training: bool) -> Any:
        """Return the prediction made from a projection, which must have the same width."""
        p = self.predictor(z, training=training)
        check_prediction(p, z)
        return p

    def monitored_outputs(self, h: Any) -> dict[str, Any]:
        """Return the vectors that `callbacks.CollapseMonitor` watches, in inference mode.

        If their directions are the same for all examples, so are the inputs of the loss. They are
        the projection or, if the method has `prototypes`, the assignment to them at the
        temperature of DINO's teacher. With prototypes the projection is not monitored, since
        DINO's centre removes what all projections have in common.

        Args:
            h: representations of a batch, `(batch, features)`; those of the nodes of graphs may
                be concatenated, `(batch, nodes * features)`.

        Returns:
            Tensors with one row per representation, by name.
        """
        width = self._state.representation_spec.shape[-1]
        z = self.projector(ops.reshape(h, (-1, width)), training=False)
        prototypes = getattr(self, "prototypes", None)
        if not isinstance(prototypes, Prototypes):
            return {"projection": z}
        return {"assignment": ops.softmax(ops.cast(prototypes(z), "float32") / 0.04)}

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer | None:
        """Return the views of images that a trainer made by its name compares."""
        return augment.SimCLRViews(images.size, count=cls.view_count or 2)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = {"projector": self.projector, "loss": self.loss_function}
        if hasattr(self, "predictor"):
            parts["predictor"] = self.predictor
        return {**super().get_config(), **serialize_parts(**parts)}


class MultiCrop(JointEmbedding):
    """Base of methods with global and local views, such as crops of several sizes.

    The first `global_count` views are global and have one size. The others are local: they show a
    small part of the example and are no larger.
    """

    global_count = 2

    def check_views(self, views: Any) -> None:
        """Raise unless the global views have one size and no local view is larger."""
        check_crops(views, self.global_count, getattr(self.encoder, "input_shape", None))

    def project_crops(self, views: Any, training: bool) -> tuple[list[Any], list[Any]]:
        """Return the representation and the projection of every view."""
        h = call_by_size(lambda view: self.encoder(view, training=training), views)
        for features in h:
            check_features(features)
        # features of all views have the same width, so the projector is called once
        z = self.projector(ops.concatenate(h, axis=0), training=training)
        return h, ops.split(z, len(h))

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the encoder of a trainer that is made by its name: for views of any size."""
        return images.encoder(size=None)

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer | None:
        """Return the views of images that a trainer made by its name compares."""
        # 96 of 224 pixels in the papers, and a multiple of a transformer's patches
        patch = getattr(images.part("encoder"), "patch_size", (1, 1))[0]
        local = max(1, round(images.size * 96 / 224 / patch)) * patch
        return augment.MultiCropViews(images.size, local)


def call_by_size(function: Callable[[Any], Any], views: Any) -> list[Any]:
    """Call a network on views, once for consecutive views of the same size.

    This is faster than one call per view, and batch normalisation sees all views of a size
    together, as in the published code of SwAV and DINO.

    Returns:
        The list of outputs, one tensor per view.
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
