"""SimSiam: predict the projection of the other view, with its gradient stopped."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers import PredictionHead, ProjectionHead, SyncBatchNormalization
from keras_ssl.losses import NegativeCosineSimilarity
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class SimSiam(JointEmbedding):
    r"""SimSiam: simple Siamese representation learning.

    Two random views of each example go through an encoder and a projector, to `z_1` and `z_2`. A
    predictor h predicts one from the other, whose gradient is stopped. With D the negative cosine
    similarity:

        L = D(h(z_1), stop_gradient(z_2)) / 2 + D(h(z_2), stop_gradient(z_1)) / 2

    The views go through the networks one at a time, as in the published code.

    Args:
        encoder: `keras.Model` or layer that maps a batch to `(batch, features)`.
        projector: layer that maps features to `z`. `None` means that of the paper: three dense
            layers of 2048 units with batch normalisation, the last one without scale and offset.
        predictor: layer `h` with outputs of the same width as the projector. `None` means
            `keras_ssl.layers.PredictionHead(512)`.
        augment: layer that makes two views of a batch, such as `keras_ssl.augment.SimCLRViews`.
            `None` if the data already holds pairs of views.
        loss: `D`, called `loss(prediction, target)`. `None` means
            `keras_ssl.losses.NegativeCosineSimilarity()`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object.
        ValueError: before the first step, if there are not two views, or predictor and projector
            differ in width.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.SimSiam(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 64)),
    ...     predictor=keras_ssl.layers.PredictionHead(16),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Exploring Simple Siamese Representation Learning](https://arxiv.org/abs/2011.10566),
          Chen & He, 2020
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        predictor: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ):
        if projector is None:
            last = SyncBatchNormalization(center=False, scale=False)
            projector = ProjectionHead((2048, 2048, 2048), last_normalization=last)
        super().__init__(
            encoder,
            projector,
            augment,
            NegativeCosineSimilarity() if loss is None else loss,
            PredictionHead(512) if predictor is None else predictor,
            **kwargs,
        )

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the predictions and projections of both views."""
        (h_1, z_1), (_, z_2) = (self.project(view, training) for view in batch.views)
        return {
            "p_1": self.predict_from(z_1, training),
            "p_2": self.predict_from(z_2, training),
            "z_1": z_1,
            "z_2": z_2,
            "representation": h_1,
        }

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the distance of each prediction from the projection of the other view."""
        z_1, z_2 = (ops.stop_gradient(embeddings[name]) for name in ("z_1", "z_2"))
        first = self.loss_function(embeddings["p_1"], z_2)
        second = self.loss_function(embeddings["p_2"], z_1)
        return {"similarity": (first + second) / 2}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
