"""Barlow Twins: make the cross-correlation matrix of two views the identity."""

from typing import Any

import keras

from keras_ssl import losses
from keras_ssl.layers import ProjectionHead
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class BarlowTwins(JointEmbedding):
    r"""Barlow Twins: self-supervised learning via redundancy reduction.

    Two random views of each example go through an encoder and a projector, to `z_1` and `z_2`. C
    is the cross-correlation matrix of their features over the batch of all replicas. The loss is
    its distance from the identity:

        L = Σ_i (1 - C_ii)² + λ Σ_i Σ_{j ≠ i} C_ij²

    The views go through the networks one at a time, as in the published code. The projector is
    discarded after training.

    Args:
        encoder: `keras.Model` or layer that maps a batch to `(batch, features)`.
        projector: layer that maps features to `z`. `None` means that of the paper,
            `keras_ssl.layers.ProjectionHead((8192, 8192, 8192), use_bias=False)`.
        augment: layer that makes two views of a batch, such as
            `keras_ssl.augment.AsymmetricViews`. `None` if the data already holds pairs of views.
        loss: loss called `loss(z_1, z_2)`. `None` means `keras_ssl.losses.BarlowTwinsLoss()`, with
            λ = 0.005 as in the paper.
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
        ValueError: before the first step, if there are not two views, or a batch holds a single
            example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.BarlowTwins(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 64), use_bias=False),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Barlow Twins: Self-Supervised Learning via Redundancy Reduction](
          https://arxiv.org/abs/2103.03230), Zbontar et al., 2021
    """

    minimum_batch = 2  # a single example has no variance

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ):
        if projector is None:
            projector = ProjectionHead((8192, 8192, 8192), use_bias=False)
        loss = losses.BarlowTwinsLoss() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the projections of both views, and the representation of the first."""
        (h_1, z_1), (_, z_2) = (self.project(view, training) for view in batch.views)
        return {"z_1": z_1, "z_2": z_2, "representation": h_1}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the distance of the cross-correlation matrix from the identity."""
        return {"redundancy": self.loss_function(embeddings["z_1"], embeddings["z_2"])}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
