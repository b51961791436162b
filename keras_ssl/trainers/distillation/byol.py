"""BYOL: predict what a slowly moving teacher says of the other view."""

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

    Of two random views `v`, `v'` of an example, the student (online network) projects one and
    predicts from it, `q(g(f(v)))`, what the teacher (target network), whose weights are a moving
    average of the student's, projects of the other one, `z' = g_ξ(f_ξ(v'))`. No gradient flows
    into the teacher. With `D` the negative cosine similarity, the loss is that of both
    directions,

        L = 2 D(q(z), z_ξ') + 2 D(q(z'), z_ξ)

    which is the paper's squared distance of normalised vectors without its constant, 4.

    Each view goes through the networks by itself, and the teacher's batch normalisation uses
    the statistics of the batch, as in the published code.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((4096, 256))`.
        predictor: layer `q`, as wide at its end as `g`. `None` means
            `keras_ssl.layers.PredictionHead(4096)`.
        augment: layer that makes two views of a batch, such as
            `keras_ssl.augment.AsymmetricViews`. `None` means that the data holds pairs of ready
            views.
        loss: `D`, loss of predictions and targets, called `loss(q, z)`. `None` means
            `keras_ssl.losses.NegativeCosineSimilarity()`.
        momentum: how much of the teacher's weights stays at each step: a number in [0, 1), or a
            schedule. The paper's rises from 0.996 to 1:
            `keras_ssl.optimizers.cosine_momentum(0.996, steps)`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes, any structure of tensors; `(batch, height, width, channels)`
        for images.

    Output shape:
        What the encoder returns, `(batch, features)`.

    Raises:
        TypeError: if a part is not a Keras object, or `momentum` neither number nor schedule.
        ValueError: if `momentum` is outside [0, 1); before the first step, if the data does not
            give two views of one shape, or predictor and projector differ in width.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.BYOL(
    ...     encoder=keras_ssl.networks.resnet18(input_shape=(28, 28, 1), width=4),
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
        """Return the student's predictions and the teacher's projections of both views."""
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
        """Return the distance of predictions and targets, each of the other view's."""
        first = self.loss_function(embeddings["q_1"], embeddings["target_2"])
        second = self.loss_function(embeddings["q_2"], embeddings["target_1"])
        # ||a - b||² = 2 - 2 a·b for unit vectors
        return {"regression": 2 * (first + second)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(momentum=self.teacher.momentum)}
