"""FroSSL: invariance of views, and features of high entropy."""

from typing import Any

import keras
from keras import ops

from keras_ssl import losses
from keras_ssl.layers import ProjectionHead
from keras_ssl.trainers.redundancy._many_views import ManyViews


@keras.saving.register_keras_serializable(package="keras_ssl")
class FroSSL(ManyViews):
    r"""FroSSL: Frobenius norm minimisation for self-supervised learning.

    Two or more random views of each example go through an encoder and a projector. With Z_v the
    projections of view v over the batch of all replicas, each feature scaled to length 1, Z̄ their
    mean over the V views and N the number of examples:

        L = Σ_v log ||Z_vᵀ Z_v / tr(Z_vᵀ Z_v)||²_F + λ V/N Σ_v ||Z_v - Z̄||²_F

    The first term makes features carry different information, the second makes the views agree.
    The norm takes the smaller of two matrices, of features or of examples. The views go through
    the networks one at a time. The projector is discarded after training.

    Args:
        encoder: `keras.Model` or layer that maps a batch to `(batch, features)`.
        projector: layer that maps features to embeddings. `None` means
            `keras_ssl.layers.ProjectionHead((2048, 2048, 1024))`.
        augment: layer that makes two or more views of a batch, such as
            `keras_ssl.augment.SimCLRViews(..., count=4)`. `None` if the data already holds views.
        loss: loss called `loss(views)`, with a list of `(batch, dim)`. `None` means
            `keras_ssl.losses.FroSSLLoss()`, with λ = 1.
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
        ValueError: before the first step, if there are fewer than two views, or a batch holds a
            single example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.FroSSL(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     augment=keras_ssl.augment.SimCLRViews(28, count=3),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [FroSSL: Frobenius Norm Minimization for Efficient Multiview Self-Supervised Learning](
          https://arxiv.org/abs/2310.02903), Skean et al., 2023
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ):
        projector = ProjectionHead((2048, 2048, 1024)) if projector is None else projector
        loss = losses.FroSSLLoss() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss of all views."""
        return {"redundancy": self.loss_function(ops.unstack(embeddings["z"], axis=1))}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
