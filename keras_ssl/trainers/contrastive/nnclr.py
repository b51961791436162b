"""NNCLR: agree with the nearest neighbour of your other view."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers import FeatureQueue, PredictionHead, ProjectionHead
from keras_ssl.losses import InfoNCE
from keras_ssl.ops import l2_normalize
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class NNCLR(JointEmbedding):
    r"""NNCLR: nearest-neighbour contrastive learning of representations.

    Two views `x_1`, `x_2` of every image are embedded, `z = g(f(x))`, and a predictor gives
    `p = q(z)`. In a queue of embeddings of earlier images, `NN(z)` is the one nearest to z. The
    loss makes `NN(z_1)` like `p_2` and unlike the predictions for other images of the batch, and
    `NN(z_2)` like `p_1`; its value is the mean of the two. So positives are other images, and
    differ by more than an augmentation does. Then `z_1` takes the place of the queue's oldest.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((2048, 2048, 256),
            last_normalization=True)`.
        predictor: layer `q`, from an embedding to one as wide. `None` means
            `keras_ssl.layers.PredictionHead(4096)`.
        augment: layer that makes two views of a batch, such as `keras_ssl.augment.SimCLRViews`.
            `None` means that the data holds pairs of ready views.
        loss: loss called `loss(neighbor, prediction)`, which compares each neighbour with the
            predictions of all examples. `None` means `keras_ssl.losses.InfoNCE(temperature=0.1)`.
        queue: layer that holds the embeddings, a multiple of the batch over all replicas. `None`
            means `keras_ssl.layers.FeatureQueue(98304)`.
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
        TypeError: if a part is not a Keras object.
        ValueError: before the first step, if the data does not give two views of one shape, a
            batch holds a single example, the queue's size is no multiple of the batch, or the
            predictor's output is not as wide as the projector's.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.NNCLR(
    ...     encoder=keras_ssl.networks.resnet18(input_shape=(28, 28, 1), width=4),
    ...     projector=keras_ssl.layers.ProjectionHead((32, 16), last_normalization=True),
    ...     predictor=keras_ssl.layers.PredictionHead(32),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ...     queue=keras_ssl.layers.FeatureQueue(64),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual
          Representations](https://arxiv.org/abs/2104.14548), Dwibedi et al., 2021
    """

    minimum_batch = 2  # a prediction needs another one to differ from

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        predictor: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        queue: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        if projector is None:
            projector = ProjectionHead((2048, 2048, 256), last_normalization=True)
        super().__init__(
            encoder,
            projector,
            augment,
            InfoNCE(temperature=0.1) if loss is None else loss,
            PredictionHead(4096) if predictor is None else predictor,
            **kwargs,
        )
        self.queue = FeatureQueue(98304) if queue is None else queue
        check_type("queue", self.queue, keras.layers.Layer)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return embeddings and predictions of both views, and the first's representation."""
        (h_1, z_1), (_, z_2) = (self.project(view, training) for view in batch.views)
        return {
            # neighbours are found with z, and no gradient flows through the choice
            "z_1": ops.stop_gradient(z_1),
            "z_2": ops.stop_gradient(z_2),
            "p_1": self.predict_from(z_1, training),
            "p_2": self.predict_from(z_2, training),
            "representation": h_1,
        }

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the contrastive loss of the neighbours, and let embeddings into the queue."""
        z_1, z_2 = (l2_normalize(embeddings[name]) for name in ("z_1", "z_2"))
        candidates = self.queue(z_1, training=training)
        loss_1 = self.loss_function(nearest(z_1, candidates), embeddings["p_2"])
        loss_2 = self.loss_function(nearest(z_2, candidates), embeddings["p_1"])
        return {"contrastive": (loss_1 + loss_2) / 2}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(queue=self.queue)}


def nearest(z: Any, candidates: Any) -> Any:
    """Return for each row of `z` the candidate with the largest inner product.

    Args:
        z: `(n, dim)`, rows of length 1.
        candidates: `(m, dim)`, rows of length 1.

    Returns:
        Tensor of shape `(n, dim)`.
    """
    similarities = ops.matmul(z, ops.transpose(candidates))
    return ops.take(candidates, ops.argmax(similarities, axis=-1), axis=0)
