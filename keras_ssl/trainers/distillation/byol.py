"""BYOL: predict the projection of the other view by a momentum teacher."""

from typing import Any

import keras

from keras_ssl.layers import PredictionHead, ProjectionHead
from keras_ssl.losses import NegativeCosineSimilarity
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class BYOL(JointEmbedding):
    r"""BYOL: bootstrap your own latent.

    The student (online network) projects two random views v, v' of an example to `z = g(f(v))` and
    `z' = g(f(v'))`. From each it predicts the projection `z_ξ` of the other view by the teacher
    (target network), whose weights ξ are a moving average of the weights of the student and get no
    gradient. With D the negative cosine similarity:

        L = 2 D(q(z), z_ξ') + 2 D(q(z'), z_ξ)

    This is the squared distance of normalised vectors in the paper minus its constant 4.

    The views go through the networks one at a time, and batch normalisation in the teacher uses
    the statistics of the batch, as in the published code.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((4096, 256))`.
        predictor: layer `q` with outputs of the same width as `g`. `None` means
            `keras_ssl.layers.PredictionHead(4096)`.
        augment: layer that makes two views of a batch, such as
            `keras_ssl.augment.AsymmetricViews`. `None` if the data already holds pairs of views.
        loss: `D`, called `loss(prediction, target)`. `None` means
            `keras_ssl.losses.NegativeCosineSimilarity()`.
        momentum: of the teacher, in [0, 1), or a schedule by optimizer steps. The paper raises it
            from 0.996 to 1: `keras_ssl.optimizers.cosine_momentum(0.996, steps)`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object, or `momentum` neither a number nor a schedule.
        ValueError: if `momentum` is outside [0, 1); before the first step, if there are not two
            views, or predictor and projector differ in width.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.BYOL(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     predictor=keras_ssl.layers.PredictionHead(64),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ...     momentum=keras_ssl.optimizers.cosine_momentum(0.996, steps=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning](
          https://arxiv.org/abs/2006.07733), Grill et al., 2020
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        predictor: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.996,
        **kwargs: Any,
    ):
        super().__init__(
            encoder,
            ProjectionHead((4096, 256)) if projector is None else projector,
            augment,
            NegativeCosineSimilarity() if loss is None else loss,
            PredictionHead(4096) if predictor is None else predictor,
            **kwargs,
        )
        self.teacher = EMATeacher(self, ["encoder", "projector"], momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return predictions of the student and projections of the teacher for both views."""
        (h_1, z_1), (_, z_2) = (self.project(view, training) for view in batch.views)
        target_1, target_2 = (self.teacher.project(view, training) for view in batch.views)
        return {
            "q_1": self.predict_from(z_1, training),
            "q_2": self.predict_from(z_2, training),
            "target_1": target_1,
            "target_2": target_2,
            "representation": h_1,
        }

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the distance of each prediction from the target of the other view."""
        first = self.loss_function(embeddings["q_1"], embeddings["target_2"])
        second = self.loss_function(embeddings["q_2"], embeddings["target_1"])
        # ||a - b||² = 2 - 2 a·b for unit vectors
        return {"regression": 2 * (first + second)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(momentum=self.teacher.momentum)}
