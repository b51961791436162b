"""VICReg: invariance of views, variance of features, and no covariance between features."""

from typing import Any

import keras
from keras import ops

from keras_ssl import losses
from keras_ssl.layers import ProjectionHead
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class VICReg(JointEmbedding):
    r"""VICReg: variance-invariance-covariance regularisation.

    Two random views of each example go through an encoder and a projector (the expander of the
    paper), to `z` and `z'`. Three terms keep the two views close (invariance `s`), the standard
    deviation of each feature over the batch above 1 (variance `v`), and features uncorrelated
    (covariance `c`):

        L = λ s(z, z') + μ (v(z) + v(z')) / 2 + ν (c(z) + c(z'))

    Statistics are those of the batch of all replicas. The views go through the networks one at a
    time, as in the published code. The projector is discarded after training.

    Args:
        encoder: `keras.Model` or layer that maps a batch to `(batch, features)`.
        projector: layer that maps features to `z`. `None` means that of the paper,
            `keras_ssl.layers.ProjectionHead((8192, 8192, 8192), use_bias=False)`.
        augment: layer that makes two views of a batch, such as
            `keras_ssl.augment.AsymmetricViews`. `None` if the data already holds pairs of views.
        loss: loss called `loss(z, z')`. `None` means `keras_ssl.losses.VICRegLoss()`, with the
            weights of the paper, 25, 25 and 1. The weighted terms of a `VICRegLoss` are reported
            as the losses "invariance", "variance" and "covariance", any other loss as
            "regularization".
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
    >>> trainer = keras_ssl.trainers.VICReg(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 64), use_bias=False),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['covariance', 'invariance', 'loss', 'variance']

    Reference:
        - [VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning](
          https://arxiv.org/abs/2105.04906), Bardes et al., 2021
    """

    minimum_batch = 2  # a single example has no variance
    loss_class = losses.VICRegLoss  # whose terms are reported

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
        loss = self.loss_class() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the projections of both views, and the representation of the first."""
        (h_1, z_1), (_, z_2) = (self.project(view, training) for view in batch.views)
        return {"z_1": z_1, "z_2": z_2, "representation": h_1}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the weighted terms of the loss."""
        return self._terms_of(embeddings["z_1"], embeddings["z_2"])

    def _terms_of(self, *inputs: Any) -> dict[str, Any]:
        """Return the terms of the loss, or the loss as one."""
        if isinstance(self.loss_function, self.loss_class):
            return self.loss_function.terms(*inputs)
        return {"regularization": self.loss_function(*inputs)}

    def monitored_outputs(self, h: Any) -> dict[str, Any]:
        """Return the projection, with a constant of the size that the variance term aims at."""
        found = super().monitored_outputs(h)
        if isinstance(self.loss_function, self.loss_class):
            # Collapse here means deviations far below 1, which directions do not show. With the
            # constant, collapsed vectors all have the same direction.
            z = ops.cast(found["projection"], "float32")
            ones = ops.ones_like(z[:, :1]) * z.shape[-1] ** 0.5
            found["projection"] = ops.concatenate([z, ones], axis=-1)
        return found

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
