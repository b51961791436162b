"""TiCo: transformation invariance and covariance contrast."""

from typing import Any

import keras

from keras_ssl import layers, losses
from keras_ssl.ops import l2_normalize
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class TiCo(JointEmbedding):
    r"""TiCo: transformation invariance and covariance contrast.

    The student projects one view of each example to `z`; the teacher, whose weights are a moving
    average of those of the student, projects the other to `t`. Both have length 1. C is a moving
    average of the covariance of z over the batches. The loss draws z to t, and away from the
    directions along which embeddings have been long:

        L = 1 - z · t + ρ zᵀ C z,    C ← β C + (1 - β) mean of z zᵀ

    C acts as a memory of all earlier embeddings, like the queue of MoCo, at the size of one matrix.

    Args:
        encoder: `keras.Model` or layer that maps a batch to `(batch, features)`.
        projector: layer that maps features to `z`. `None` means
            `keras_ssl.layers.ProjectionHead((4096, 256))`.
        augment: layer that makes two views of a batch, for student and teacher, such as
            `keras_ssl.augment.AsymmetricViews`. `None` if the data already holds pairs of views.
        loss: loss called `loss(z, t, C)`. `None` means `keras_ssl.losses.TiCoLoss()`, with ρ = 8.
        covariance: layer that keeps C. `None` means `keras_ssl.layers.MovingCovariance()`, with
            β = 0.9.
        momentum: of the teacher, in [0, 1), or a schedule by optimizer steps, such as
            `keras_ssl.optimizers.cosine_momentum(0.99, steps)`.
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
        ValueError: if `momentum` is outside [0, 1). Before the first step, if there are not two
            views, or a batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.TiCo(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual
          Representation Learning](https://arxiv.org/abs/2206.10698), Zhu et al., 2022
    """

    minimum_batch = 2  # embeddings of one example have no directions to avoid

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        covariance: keras.layers.Layer | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.99,
        **kwargs: Any,
    ):
        projector = layers.ProjectionHead((4096, 256)) if projector is None else projector
        loss = losses.TiCoLoss() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)
        self.covariance = layers.MovingCovariance() if covariance is None else covariance
        check_type("covariance", self.covariance, keras.layers.Layer)
        self.teacher = EMATeacher(self, ["encoder", "projector"], momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return projections of the first view, targets of the second, and the representation."""
        x, x_target = batch.views
        h, z = self.project(x, training)
        return {"z": z, "target": self.teacher.project(x_target, training), "representation": h}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss, with the covariance after this batch."""
        z, target = embeddings["z"], embeddings["target"]
        covariance = self.covariance(l2_normalize(z), training=training)
        return {"contrast": self.loss_function(z, target, covariance)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(covariance=self.covariance, momentum=self.teacher.momentum)
        return {**super().get_config(), **parts}
