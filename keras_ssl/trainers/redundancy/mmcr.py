"""MMCR: embeddings of maximum manifold capacity."""

from typing import Any

import keras
from keras import ops

from keras_ssl import losses
from keras_ssl.layers import ProjectionHead
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.redundancy._many_views import ManyViews
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class MMCR(ManyViews):
    r"""MMCR: maximum manifold capacity representations.

    Two or more random views of each example go through an encoder and a projector, and also
    through a teacher, whose weights are a moving average of those of the student. All embeddings
    have length 1. C holds the mean of all embeddings of each example, Z_i the embeddings of
    example i, and ||.||_* is the sum of the singular values:

        L = -||C||_* + λ/N Σ_i ||Z_i||_*

    The means of a batch, over all replicas, become long, as views agree, and spread over all
    directions. The views go through the networks one at a time. The projector is discarded after
    training.

    Args:
        encoder: `keras.Model` or layer that maps a batch to `(batch, features)`.
        projector: layer that maps features to embeddings. `None` means
            `keras_ssl.layers.ProjectionHead((8192, 8192, 512))`.
        augment: layer that makes two or more views of a batch, such as
            `keras_ssl.augment.SimCLRViews(..., count=4)`. `None` if the data already holds views.
        loss: loss called `loss(views)`, with a list of `(batch, dim)`. `None` means
            `keras_ssl.losses.MMCRLoss()`, with λ = 0.005.
        momentum: of the teacher, in [0, 1), or a schedule by optimizer steps; `None` for no
            teacher.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object, or `momentum` not a number, a schedule or
            `None`.
        ValueError: if `momentum` is outside [0, 1); before the first step, if there are fewer than
            two views, or a batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.MMCR(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Learning Efficient Coding of Natural Images with Maximum Manifold Capacity
          Representations](https://arxiv.org/abs/2303.03307), Yerxa et al., 2023
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule | None = 0.996,
        **kwargs: Any,
    ):
        projector = ProjectionHead((8192, 8192, 512)) if projector is None else projector
        loss = losses.MMCRLoss() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)
        students = ["encoder", "projector"]
        self.teacher = None if momentum is None else EMATeacher(self, students, momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the projections of all views by student and teacher, and the representation."""
        embeddings = super().embed(batch, training)
        if self.teacher is None:
            return embeddings
        targets = [self.teacher.project(view, training) for view in batch.views]
        z = ops.concatenate([embeddings["z"], ops.stack(targets, axis=1)], axis=1)
        return {**embeddings, "z": z}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss of all views."""
        return {"capacity": self.loss_function(ops.unstack(embeddings["z"], axis=1))}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        momentum = None if self.teacher is None else self.teacher.momentum
        return {**super().get_config(), **serialize_parts(momentum=momentum)}
