"""LeJEPA: views that agree, with embeddings of an isotropic Gaussian distribution."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, losses
from keras_ssl.layers import ProjectionHead
from keras_ssl.trainers.joint_embedding import MultiCrop
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class LeJEPA(MultiCrop):
    r"""LeJEPA: joint embedding without heuristics.

    Global views of an example and any number of local ones go through one encoder and projector.
    There is no teacher, no predictor, and no gradient is stopped. The loss draws all views to the
    mean c of the global ones, and the embeddings of each view to an isotropic Gaussian
    distribution (SIGReg):

        L = (1 - λ) mean of (z - c)² + λ mean over random directions a of T(a · z)

    T is the Epps-Pulley test of normality: the squared distance of the characteristic functions of
    the projections a · z over the batch of all replicas and of the standard normal distribution.
    The directions are drawn anew at each step. Views of one size go through the networks together.
    The projector is discarded after training.

    Args:
        encoder: `keras.Model` or layer that maps a batch of views of any of the sizes to
            `(batch, features)`, such as a ResNet built for `(None, None, 3)`.
        projector: layer that maps features to z. `None` means
            `keras_ssl.layers.ProjectionHead((2048, 2048, 64))`.
        augment: layer that makes the views of a batch, global ones first, such as
            `keras_ssl.augment.MultiCropViews`, or `keras_ssl.augment.SimCLRViews` for two global
            views alone. `None` if the data already holds views.
        loss: loss called `loss(views, directions)`, with a list of `(batch, dim)` and directions
            as columns, `(dim, directions)`. `None` means `keras_ssl.losses.LeJEPALoss()`, with two
            global views and λ = 0.05.
        directions: how many directions to draw at each step, at least 1.
        seed: integer seed of the directions.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object, or `directions` not an integer.
        ValueError: if `directions` is not positive; before the first step, if there are fewer than
            two views or than the loss has global ones, a local view is larger, the encoder does
            not take all sizes, or a batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.LeJEPA(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     augment=keras_ssl.augment.SimCLRViews(28, count=3),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics](
          https://arxiv.org/abs/2511.08544), Balestriero & LeCun, 2025
    """

    minimum_batch = 2  # a single example has no distribution

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        directions: int = 1024,
        seed: int | None = None,
        **kwargs: Any,
    ):
        projector = ProjectionHead((2048, 2048, 64)) if projector is None else projector
        loss = losses.LeJEPALoss() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)
        self.global_count = getattr(loss, "global_count", MultiCrop.global_count)
        self.directions = checks.integer("directions", directions, minimum=1)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the projections of all views, and the representation of the first."""
        h, z = self.project_crops(batch.views, training)
        # one row per example: (batch, views, dim)
        return {"z": ops.stack(z, axis=1), "representation": h[0]}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss of all views along random directions."""
        z = embeddings["z"]
        # all replicas draw the same
        directions = keras.random.normal(
            (z.shape[-1], self.directions), dtype="float32", seed=self.seed_generator
        )
        return {"prediction": self.loss_function(ops.unstack(z, axis=1), directions)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), "directions": self.directions, "seed": self.seed}
