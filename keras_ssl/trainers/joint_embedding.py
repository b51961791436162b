"""What methods share that send two views through an encoder and a projector."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers import Prototypes
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_image_views, check_type


class JointEmbedding(SelfSupervisedModel):
    """Base of methods with two views of an image, an encoder, a projector and a loss.

    Whether views go through the networks together, and share the statistics of batch
    normalisation, is the method's: SimCLR projects both at once, the others one at a time.

    Args:
        encoder: `keras.Model` or layer, from a batch of images to `(batch, features)`.
        projector: layer from features to embeddings.
        augment: layer that makes two views of a batch; `None` means that the data holds them.
        loss: loss of two batches of embeddings.
        **kwargs: `name`, `dtype` of the model.

    Raises:
        TypeError: if a part is not a Keras object of its kind.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer,
        augment: keras.layers.Layer | None,
        loss: keras.losses.Loss,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("projector", projector, keras.layers.Layer)
        check_type("loss", loss, keras.losses.Loss)
        self.projector = projector
        self.loss_function = loss

    def check_views(self, views: Any) -> None:
        """Raise unless `views` are two batches of images of one shape."""
        check_image_views(views, count=2)

    def project(self, view: Any, training: bool) -> tuple[Any, Any]:
        """Return the representation of a batch of views and its projection."""
        h = self.represent(view, training)
        return h, self.projector(h, training=training)

    def represent(self, view: Any, training: bool) -> Any:
        """Return the representation of a batch of views, checked to be one vector a view."""
        h = self.encoder(view, training=training)
        check_features(h)
        return h

    def compared(self, h: Any) -> dict[str, Any]:
        """Return what the method compares of a representation, in inference mode.

        `callbacks.CollapseMonitor` watches it. By name, vectors whose directions tell examples
        apart as the loss sees them: the projection, or where the method has `prototypes`, the
        assignment to them, with the temperature of DINO's teacher. Beside prototypes the projection
        is not watched: DINO's centre takes out what all have in common.

        Args:
            h: representations of a batch, `(batch, features)`.

        Returns:
            Tensors of shape `(batch, ...)` by name.
        """
        z = self.projector(h, training=False)
        prototypes = getattr(self, "prototypes", None)
        if not isinstance(prototypes, Prototypes):
            return {"projection": z}
        return {"assignment": ops.softmax(ops.cast(prototypes(z), "float32") / 0.04)}
