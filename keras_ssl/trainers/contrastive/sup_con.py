"""SupCon: views of the same class attract each other and repel views of other classes."""

from typing import Any

import keras
from keras import ops

from keras_ssl import losses
from keras_ssl.layers import ProjectionHead
from keras_ssl.trainers.checks import check_same_shape
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.step import Batch, concatenate


@keras.saving.register_keras_serializable(package="keras_ssl")
class SupCon(JointEmbedding):
    r"""SupCon: supervised contrastive learning.

    SimCLR with labels. Two random views of each example go through an encoder, `r = Enc(x)`, and
    a projector, `z = Proj(r)`. The loss attracts each view i to all other views `P(i)` of its
    class and repels views of other classes: L_out of the paper,

        L = Σ_i -1/|P(i)| Σ_{p ∈ P(i)} log( exp(z_i·z_p / τ) / Σ_{a ≠ i} exp(z_i·z_a / τ) )

    divided by the number of views of the batch, over all replicas. If no class occurs twice, this
    is the loss of SimCLR. The projector is discarded after training: `r` is the representation, on
    which the paper trains a linear classifier with the encoder frozen.

    Not every example needs a label: the label -1 means that there is none. Such an example attracts
    only its own other view, as in SimCLR.

    Args:
        encoder: `keras.Model` or layer `Enc`, that maps a batch to `(batch, features)`.
        projector: layer `Proj`. `None` means the projector of the paper for a ResNet-50:
            `keras_ssl.layers.ProjectionHead((2048, 128), normalization=False)`.
        augment: layer that makes two views of a batch, such as `keras_ssl.augment.SimCLRViews`.
            `None` if the data already holds pairs of views.
        loss: loss called `loss(labels, z)`, with z of shape `(batch, 2, dim)`. `None` means
            `keras_ssl.losses.SupConLoss()`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors. `fit` takes `(x, y)` with integer labels
        `y`, `(batch,)` or `(batch, 1)`, where -1 means no label.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object; before the first step, if labels are not
            integers.
        ValueError: before the first step, if the data has no labels, there are not two views of
            the same shape, or a batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> data = keras_ssl.data.load_images("fashion_mnist_mini", "train")
    >>> trainer = keras_ssl.trainers.SupCon(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16), normalization=False),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(data.batch(8).take(2), verbose=0)
    >>> images, labels = next(iter(data.batch(16)))
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Supervised Contrastive Learning](https://arxiv.org/abs/2004.11362), Khosla et al., 2020
    """

    minimum_batch = 2  # a view needs another example as its negative
    uses_labels = True

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ):
        if projector is None:
            projector = ProjectionHead((2048, 128), normalization=False)
        loss = losses.SupConLoss() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)

    def label_classes(self) -> float:
        """Return the number of the probe's classes, or infinity: any number may be a class."""
        classes = super().label_classes()
        return float("inf") if classes is None else classes

    def check_views(self, views: Any) -> None:
        """Raise unless there are two views of the same structure and shape."""
        super().check_views(views)
        check_same_shape(views)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the labels, the projections of both views, and the representation of the first."""
        # one pass over both views, as in the paper: batch norm sees 2N examples
        r, z = self.project(concatenate(batch.views), training)
        z = ops.stack(ops.split(z, 2), axis=1)
        return {"labels": batch.y, "z": z, "representation": ops.split(r, 2)[0]}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the supervised contrastive loss."""
        return {"contrastive": self.loss_function(embeddings["labels"], embeddings["z"])}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
