"""W-MSE: whitened views that agree."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute, losses
from keras_ssl.layers import ProjectionHead
from keras_ssl.trainers.redundancy._many_views import ManyViews


@keras.saving.register_keras_serializable(package="keras_ssl")
class WMSE(ManyViews):
    r"""W-MSE: whitening for self-supervised representation learning.

    Two or more random views of each example go through an encoder and a projector. The batch is
    divided at random into sub-batches, in which each view is whitened, `w = L⁻¹ (z - mean)` with
    L Lᵀ the covariance of its features. So embeddings are spread in all directions alike, whatever
    the network does, and all that is left to learn is that views agree:

        L = mean over pairs of views of ||w / |w| - w' / |w'|||²

    A sub-batch must hold more examples than the projector has features, better twice as many.
    The partition is drawn anew at each step, `iterations` times, and their losses are averaged.
    The views go through the networks one at a time. The projector is discarded after training.

    Args:
        encoder: `keras.Model` or layer that maps a batch to `(batch, features)`.
        projector: layer that maps features to embeddings. `None` means that of the paper for small
            images, `keras_ssl.layers.ProjectionHead((1024, 64))`.
        augment: layer that makes two or more views of a batch, such as
            `keras_ssl.augment.SimCLRViews(..., count=4)`. `None` if the data already holds views.
        loss: loss called `loss(views, order=...)`, with a list of `(batch, dim)` and random
            permutations of the examples of all replicas, `(iterations, examples)`. `None` means
            `keras_ssl.losses.WMSELoss(sub_batch=128)`.
        iterations: how many partitions to draw at each step.
        seed: integer seed of the partitions.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object, or `iterations` not an integer.
        ValueError: if `iterations` is not positive; before the first step, if there are fewer than
            two views, or no more examples in a sub-batch than features of the projector.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.WMSE(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 4)),
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Whitening for Self-Supervised Representation Learning](
          https://arxiv.org/abs/2007.06346), Ermolov et al., 2020
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        iterations: int = 1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        projector = ProjectionHead((1024, 64)) if projector is None else projector
        loss = losses.WMSELoss(sub_batch=128) if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)
        self.iterations = checks.integer("iterations", iterations, minimum=1)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss of all views in random sub-batches."""
        z = embeddings["z"]
        # all replicas draw the same permutations of the global batch
        shape = (self.iterations, ops.shape(z)[0] * distribute.replica_count())
        order = ops.argsort(keras.random.uniform(shape, seed=self.seed_generator), axis=-1)
        return {"whitened": self.loss_function(ops.unstack(z, axis=1), order=order)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), "iterations": self.iterations, "seed": self.seed}
