"""MoCo v3: match predictions with keys of the same batch from a momentum encoder."""

from typing import Any

import keras

from keras_ssl.layers import ProjectionHead, SyncBatchNormalization
from keras_ssl.losses import InfoNCE
from keras_ssl.ops.schedules import value_now
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class MoCoV3(JointEmbedding):
    r"""MoCo v3: momentum contrast without a queue, with a predictor.

    Both views `x_1`, `x_2` of each example become queries, `q = p(g(f(x)))`, and keys, k, through
    moving averages of f and g. InfoNCE makes a query similar to the key of the other view and
    dissimilar to the keys of the other examples of the batch, over all replicas:

        L = 2 τ InfoNCE(q_1, k_2) + 2 τ InfoNCE(q_2, k_1)

    where τ is the temperature of the loss. The factor 2 τ makes the scale of the gradient
    independent of τ.

    The default heads are those of the paper for a vision transformer. For a ResNet-50, its code
    uses the projector `ProjectionHead((4096, 256), last_normalization=BN(center=False,
    scale=False))` and the predictor `ProjectionHead((4096, 256), use_bias=False)`, where `BN` is
    `SyncBatchNormalization`, with temperature 1.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        projector: layer `g`. `None` means `ProjectionHead((4096, 4096, 256),
            last_normalization=BN(center=False, scale=False))`.
        predictor: layer `p` that maps a projection to a vector of the same width. `None` means
            `ProjectionHead((4096, 256), last_normalization=BN(center=False, scale=False))`.
        augment: layer that makes two views of a batch, such as `keras_ssl.augment.SimCLRViews`.
            `None` if the data already holds pairs of views.
        loss: loss called `loss(query, key)`, which compares each query with the keys of all
            examples. It is multiplied by 2 τ if it has an attribute `temperature`. `None` means
            `keras_ssl.losses.InfoNCE(temperature=0.2)`.
        momentum: of the moving averages, in [0, 1), or a schedule by optimizer steps. The paper
            raises it from 0.99 to 1: `keras_ssl.optimizers.cosine_momentum(0.99, steps)`.
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
            views, a batch holds a single example, or predictor and projector differ in width.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.MoCoV3(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((32, 16)),
    ...     predictor=keras_ssl.layers.PredictionHead(32),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ...     momentum=keras_ssl.optimizers.cosine_momentum(0.99, steps=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [An Empirical Study of Training Self-Supervised Vision Transformers](
          https://arxiv.org/abs/2104.02057), Chen et al., 2021
    """

    minimum_batch = 2  # a query needs the key of another example as its negative

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        predictor: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.99,
        **kwargs: Any,
    ):
        super().__init__(
            encoder,
            _head(4096, 4096, 256) if projector is None else projector,
            augment,
            InfoNCE(temperature=0.2) if loss is None else loss,
            _head(4096, 256) if predictor is None else predictor,
            **kwargs,
        )
        self.teacher = EMATeacher(self, ["encoder", "projector"], momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return queries and keys of both views, and the representation of the first."""
        embeddings = {}
        for number, view in enumerate(batch.views, start=1):
            h, z = self.project(view, training)
            embeddings[f"q_{number}"] = self.predict_from(z, training)
            embeddings[f"k_{number}"] = self.teacher.project(view, training)
            embeddings.setdefault("representation", h)
        return embeddings

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the symmetric contrastive loss."""
        loss_1 = self.loss_function(embeddings["q_1"], embeddings["k_2"])
        loss_2 = self.loss_function(embeddings["q_2"], embeddings["k_1"])
        temperature = value_now(getattr(self.loss_function, "temperature", 0.5))
        return {"contrastive": 2 * temperature * (loss_1 + loss_2)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(momentum=self.teacher.momentum)}


def _head(*widths: int) -> ProjectionHead:
    """A head of the paper, whose last batch normalisation has no learned scale and offset."""
    last = SyncBatchNormalization(center=False, scale=False)
    return ProjectionHead(widths, last_normalization=last, use_bias=False)
