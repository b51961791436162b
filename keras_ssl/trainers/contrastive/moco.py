"""MoCo: match a view with its key among the keys of earlier batches in a queue."""

from typing import Any

import keras

from keras_ssl.layers import FeatureQueue, ProjectionHead
from keras_ssl.losses import InfoNCE
from keras_ssl.ops import l2_normalize
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class MoCo(JointEmbedding):
    r"""MoCo: momentum contrast, version 2 by default.

    One view of each example becomes a query, `q = g(f(x_q))`. The other becomes a key, k, through
    moving averages of f and g (`teacher_encoder`, `teacher_projector`). InfoNCE makes a query
    similar to its key and dissimilar to the keys of earlier batches, which a queue holds, so that
    the number of negatives does not depend on the batch size:

        L = - log( exp(q·k / τ) / (exp(q·k / τ) + Σ over the queue of exp(q·k_j / τ)) )

    Queries and keys have length 1. After the loss, the keys of the batch replace the oldest ones
    of the queue.

    Version 1 is `projector=ProjectionHead((128,))` and `loss=InfoNCE(temperature=0.07)`. Use
    `keras.layers.Identity()` for no projector.

    The paper shuffles the batch between devices, since the statistics of batch normalisation over
    one device would reveal which key belongs to a query. Here batch normalisation is computed over
    all replicas instead (`keras_ssl.layers.SyncBatchNormalization`, as in `keras_ssl.networks`).

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        projector: layer `g`. `None` means
            `keras_ssl.layers.ProjectionHead((2048, 128), normalization=False)`.
        augment: layer that makes two views of a batch, for queries and keys, such as
            `keras_ssl.augment.SimCLRViews`. `None` if the data already holds pairs of views.
        loss: loss called `loss(query, key, queue=queue)`. `None` means
            `keras_ssl.losses.InfoNCE(temperature=0.2)`.
        queue: layer that holds the keys. Its size must be a multiple of the global batch size.
            `None` means `keras_ssl.layers.FeatureQueue(65536)`.
        momentum: of the moving averages, in [0, 1), or a schedule by optimizer steps.
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
            views, or the size of the queue is not a multiple of the global batch size.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.MoCo(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ...     queue=keras_ssl.layers.FeatureQueue(64),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Momentum Contrast for Unsupervised Visual Representation Learning](
          https://arxiv.org/abs/1911.05722), He et al., 2019
        - [Improved Baselines with Momentum Contrastive Learning](
          https://arxiv.org/abs/2003.04297), Chen et al., 2020
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        queue: keras.layers.Layer | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.999,
        **kwargs: Any,
    ):
        if projector is None:
            projector = ProjectionHead((2048, 128), normalization=False)
        loss = InfoNCE(temperature=0.2) if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)
        self.queue = FeatureQueue(65536) if queue is None else queue
        check_type("queue", self.queue, keras.layers.Layer)
        self.teacher = EMATeacher(self, ["encoder", "projector"], momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return queries of the first view, keys of the second, and the representation."""
        x_q, x_k = batch.views
        h, query = self.project(x_q, training)
        return {"query": query, "key": self.teacher.project(x_k, training), "representation": h}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the contrastive loss against the queue, then add the keys to the queue."""
        query, key = embeddings["query"], embeddings["key"]
        queue = self.queue(l2_normalize(key), training=training)
        return {"contrastive": self.loss_function(query, key, queue=queue)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(queue=self.queue, momentum=self.teacher.momentum)
        return {**super().get_config(), **parts}
