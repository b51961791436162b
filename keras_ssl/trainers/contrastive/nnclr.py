"""NNCLR: a view attracts the nearest neighbour of the other view of its example."""

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

    Two views `x_1`, `x_2` of each example are embedded, `z = g(f(x))`, and a predictor returns
    `p = q(z)`. `NN(z)` is the embedding nearest to z in a queue of embeddings of earlier examples.
    InfoNCE makes it similar to the prediction from the other view and dissimilar to the predictions
    for other examples of the batch:

        L = (InfoNCE(NN(z_1), p_2) + InfoNCE(NN(z_2), p_1)) / 2

    So positives come from other examples, which differ more than augmented views of the same one.
    Then the embeddings `z_1` of the batch replace the oldest ones of the queue.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((2048, 2048, 256),
            last_normalization=True)`.
        predictor: layer `q` that maps an embedding to a vector of the same width. `None` means
            `keras_ssl.layers.PredictionHead(4096)`.
        augment: layer that makes two views of a batch, such as `keras_ssl.augment.SimCLRViews`.
            `None` if the data already holds pairs of views.
        loss: loss called `loss(neighbor, prediction)`, which compares each neighbour with the
            predictions of all examples. `None` means `keras_ssl.losses.InfoNCE(temperature=0.1)`.
        queue: layer that holds the embeddings. Its size must be a multiple of the global batch
            size. `None` means `keras_ssl.layers.FeatureQueue(98304)`.
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
        ValueError: before the first step, if there are not two views, a batch holds a single
            example, the size of the queue is not a multiple of the global batch size, or predictor
            and projector differ in width.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.NNCLR(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
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

    minimum_batch = 2  # a neighbour needs the prediction for another example as its negative

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
        """Return embeddings and predictions of both views, and the representation of the first."""
        (h_1, z_1), (_, z_2) = (self.project(view, training) for view in batch.views)
        return {
            # z only selects neighbours, and the selection has no gradient
            "z_1": ops.stop_gradient(z_1),
            "z_2": ops.stop_gradient(z_2),
            "p_1": self.predict_from(z_1, training),
            "p_2": self.predict_from(z_2, training),
            "representation": h_1,
        }

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the contrastive loss of the neighbours, then add embeddings to the queue."""
        z_1, z_2 = (l2_normalize(embeddings[name]) for name in ("z_1", "z_2"))
        candidates = self.queue(z_1, training=training)
        loss_1 = self.loss_function(_nearest(z_1, candidates), embeddings["p_2"])
        loss_2 = self.loss_function(_nearest(z_2, candidates), embeddings["p_1"])
        return {"contrastive": (loss_1 + loss_2) / 2}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(queue=self.queue)}


def _nearest(z: Any, candidates: Any) -> Any:
    """Return for each row of `z` the candidate with the largest inner product."""
    similarities = ops.matmul(z, ops.transpose(candidates))
    return ops.take(candidates, ops.argmax(similarities, axis=-1), axis=0)
