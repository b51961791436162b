"""SimCLR: two views of an example attract each other and repel all other examples."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers import ProjectionHead
from keras_ssl.losses import NTXent
from keras_ssl.trainers.checks import check_same_shape
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.step import Batch, concatenate


@keras.saving.register_keras_serializable(package="keras_ssl")
class SimCLR(JointEmbedding):
    r"""SimCLR: contrastive learning of visual representations.

    Two random views `x_i`, `x_j` of each of N examples go through an encoder, `h = f(x)`, and a
    projector, `z = g(h)`. The NT-Xent loss attracts the two views of an example and repels views
    of different examples of the batch, over all replicas:

        L = - mean over i of log( exp(cos(z_i, z_j) / τ) / Σ_{k ≠ i} exp(cos(z_i, z_k) / τ) )

    The projector is discarded after training: `h` is the representation.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((2048, 128))`, the
            projector of the paper for a ResNet-50.
        augment: layer that makes two views of a batch, such as `keras_ssl.augment.SimCLRViews`.
            `None` if the data already holds pairs of views.
        loss: loss called `loss(z_i, z_j)`. `None` means `keras_ssl.losses.NTXent()`.
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
        ValueError: before the first step, if there are not two views of the same shape, or a
            batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.SimCLR(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [A Simple Framework for Contrastive Learning of Visual Representations](
          https://arxiv.org/abs/2002.05709), Chen et al., 2020
    """

    minimum_batch = 2  # a view needs another example as its negative

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ):
        projector = ProjectionHead((2048, 128)) if projector is None else projector
        loss = NTXent() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)

    def check_views(self, views: Any) -> None:
        """Raise unless there are two views of the same structure and shape."""
        super().check_views(views)
        check_same_shape(views)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the projections of both views, and the representation of the first."""
        # one pass over both views: batch norm sees 2N examples, as in the paper
        h, z = self.project(concatenate(batch.views), training)
        z_i, z_j = ops.split(z, 2)
        return {"z_i": z_i, "z_j": z_j, "representation": ops.split(h, 2)[0]}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the contrastive loss of the two views."""
        return {"contrastive": self.loss_function(embeddings["z_i"], embeddings["z_j"])}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
