"""PMSN: MSN whose clusters have sizes of a power law."""

from typing import Any

import keras

from keras_ssl import layers, losses
from keras_ssl.trainers.distillation.msn import MSN


@keras.saving.register_keras_serializable(package="keras_ssl")
class PMSN(MSN):
    r"""PMSN: prior matching for siamese networks.

    The same as `keras_ssl.trainers.MSN`, with the networks, views, masks and teacher described
    there, but for the regulariser. MSN draws the mean assignment p̄ of the anchors to the uniform
    distribution, as if all classes were equally frequent. PMSN draws it to a power law, which fits
    data with few frequent and many rare classes:

        q(k) ∝ k^-τ
        L = - mean over anchors of Σ_k p⁺(k) log p(k) + λ Σ_k q(k) log(q(k) / p̄(k))

    Args:
        encoder: as of `keras_ssl.trainers.MSN`.
        projector: as of `keras_ssl.trainers.MSN`.
        prototypes: as of `keras_ssl.trainers.MSN`.
        augment: as of `keras_ssl.trainers.MSN`.
        loss: loss called `loss(target_scores, anchor_scores)`. `None` means
            `keras_ssl.losses.PMSNLoss()`, with τ = 0.25.
        momentum: as of `keras_ssl.trainers.MSN`.
        masking: as of `keras_ssl.trainers.MSN`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: as `keras_ssl.trainers.MSN`.
        ValueError: as `keras_ssl.trainers.MSN`.

    Example:

    >>> import keras_ssl
    >>> from keras_ssl import augment
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> whole = augment.simclr_pipeline(28, scale=(0.3, 1.0))
    >>> masked = [augment.simclr_pipeline(28, scale=(0.3, 1.0)), augment.RandomPatchMask(7, 0.15)]
    >>> trainer = keras_ssl.trainers.PMSN(
    ...     encoder=keras_ssl.networks.small_resnet((None, None, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     prototypes=keras_ssl.layers.Prototypes(128),
    ...     augment=augment.AsymmetricViews([whole, masked]),
    ...     loss=keras_ssl.losses.PMSNLoss(exponent=0.5),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [The Hidden Uniform Cluster Prior in Self-Supervised Learning](
          https://arxiv.org/abs/2210.07277), Assran et al., 2022
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        prototypes: layers.Prototypes | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.996,
        masking: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        loss = losses.PMSNLoss() if loss is None else loss
        parts = (encoder, projector, prototypes, augment, loss, momentum, masking)
        super().__init__(*parts, **kwargs)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
