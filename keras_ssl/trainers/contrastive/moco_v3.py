"""MoCo v3: predict what a slow copy of yourself says of the other view."""

from typing import Any

import keras

from keras_ssl.layers import ProjectionHead, SyncBatchNormalization
from keras_ssl.losses import InfoNCE
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class MoCoV3(JointEmbedding):
    r"""MoCo v3: momentum contrast without a queue, with a predictor.

    Both views `x_1`, `x_2` of every image become queries, `q = p(g(f(x)))`, and keys, `k`, by an
    encoder and projector that follow `f` and `g` as a moving average. InfoNCE makes a query like
    the key of the other view and unlike the keys of other images of the batch, over all replicas:

        2 τ InfoNCE(q_1, k_2) + 2 τ InfoNCE(q_2, k_1)

    with the loss' temperature τ. The factor 2 τ keeps the size of the gradient when τ changes.

    The default heads are the paper's for a vision transformer. For a ResNet-50 its code has
    the projector `ProjectionHead((4096, 256), last_normalization=BN(center=False, scale=False))`
    and the predictor `ProjectionHead((4096, 256), use_bias=False)`, where `BN` is
    `SyncBatchNormalization`, with temperature 1.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        projector: layer `g`. `None` means `ProjectionHead((4096, 4096, 256),
            last_normalization=BN(center=False, scale=False))`.
        predictor: layer `p`, from a projection to one as wide. `None` means
            `ProjectionHead((4096, 256), last_normalization=BN(center=False, scale=False))`.
        augment: layer that makes two views of a batch, such as `keras_ssl.augment.SimCLRViews`.
            `None` means that the data holds pairs of ready views.
        loss: loss called `loss(query, key)`, which compares each query with the keys of all
            examples. What it gives is multiplied by 2 τ if it has a `temperature` τ. `None` means
            `keras_ssl.losses.InfoNCE(temperature=0.2)`.
        momentum: in [0, 1), with which the momentum encoder follows, or a schedule of it. The paper
            has `keras_ssl.optimizers.cosine_momentum(0.99, steps)`, for the optimizer steps of the
            run; the default is where that starts.
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
        TypeError: if a part is not a Keras object, or `momentum` neither a number nor a schedule.
        ValueError: if `momentum` is outside [0, 1). Before the first step, if the data does not
            give two views of one shape, a batch holds a single example, or the predictor's output
            is not as wide as the projector's.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.MoCoV3(
    ...     encoder=keras_ssl.networks.resnet18(input_shape=(28, 28, 1), width=4),
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

    minimum_batch = 2  # a query needs another example's key to differ from

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        predictor: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        momentum: Any = 0.99,
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
        """Return queries and keys of both views, and the first's representation."""
        embeddings = {}
        for number, view in enumerate(batch.views, start=1):
            h, z = self.project(view, training)
            embeddings[f"q_{number}"] = self.predict_from(z, training)
            embeddings[f"k_{number}"] = self.teacher.project(view, training)
            embeddings.setdefault("representation", h)
        return embeddings

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the contrastive loss of both ways."""
        loss_1 = self.loss_function(embeddings["q_1"], embeddings["k_2"])
        loss_2 = self.loss_function(embeddings["q_2"], embeddings["k_1"])
        temperature = getattr(self.loss_function, "temperature", 0.5)
        return {"contrastive": 2 * temperature * (loss_1 + loss_2)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(momentum=self.teacher.momentum)}


def _head(*widths: int) -> ProjectionHead:
    """A head of the paper: batch normalisation everywhere, and nothing learned in the last."""
    last = SyncBatchNormalization(center=False, scale=False)
    return ProjectionHead(widths, last_normalization=last, use_bias=False)
