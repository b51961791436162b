"""iBOT: predict a momentum teacher's tokens of masked patches, and of the other view."""

from typing import Any

import keras

from keras_ssl import layers, losses
from keras_ssl.trainers.masked._masked_self_distillation import (
    MaskedSelfDistillation,
    default_projector,
)
from keras_ssl.trainers.parts import serialize_parts


@keras.saving.register_keras_serializable(package="keras_ssl")
class iBOT(MaskedSelfDistillation):  # noqa: N801, the name of the paper
    r"""iBOT: image BERT pre-training with an online tokenizer.

    iBOT combines DINO with masked image modelling, whose tokenizer is DINO's teacher. The student
    sees two global views of an image with blocks of patches replaced by a mask token, and any
    number of local views; the teacher, whose weights are a moving average of those of the student,
    sees the global views whole. Both score class tokens and outputs of patches with the same head:

        g = prototypes(projector(encoder(view)))
        q = softmax((g_teacher - c) / τ_teacher),  p = softmax(g_student / τ_student)
        L_class = - mean over pairs of views t ≠ s of Σ_k q_t(k) log p_s(k)
        L_patch = - mean over masked patches j of Σ_k q_j(k) log p_j(k)

    where patches are compared within a view, and views that were not masked have weight 0. Class
    tokens and patches each have a centre c, a moving average of the teacher's scores.

    The paper masks each view with probability 0.5, and then between 10 and 50 % of its patches.
    Here the share of patches is always the same, so that shapes are static. The teacher scores only
    the patches that the masking chose, and their centre is the mean over these; the authors' code
    takes all patches.

    Args:
        encoder: `networks.TokenEncoder` that takes views of all sizes, such as
            `networks.vit(...)`. Its `"features"` are those of the class token.
        projector: layer that maps features `(n, features)` to embeddings `(n, dim)`. `None` means
            `keras_ssl.layers.ProjectionHead((2048, 2048, 256), normalization=False,
            activation="gelu", l2_normalize=True)`.
        prototypes: `keras_ssl.layers.Prototypes`, which scores embeddings. `None` means
            `keras_ssl.layers.Prototypes(8192)`.
        augment: layer that returns two global views of a batch, followed by any number of local
            ones, such as `keras_ssl.augment.MultiCropViews`. `None` if the data already holds
            views.
        masking: layer that chooses the patches to mask in a view: it maps tokens
            `(batch, patches, width)` to booleans `(batch, patches)` with as many `True` in every
            example, and has a method `count(patches)` that returns how many. `None` means
            `keras_ssl.layers.BlockMasking((14, 14), ratio=0.3)`, for views of 224x224 pixels and
            patches of 16x16.
        mask_probability: probability, in [0, 1], that a global view is masked. The student sees
            the other global views, and all local ones, whole.
        patch_projector: projector for the outputs of patches. `None` means that patches share
            projector and prototypes with the class token, as in the paper.
        patch_prototypes: prototypes for the embeddings of patches; needs a `patch_projector`.
            `None` means 8,192 if there is a `patch_projector`, and otherwise those of the class
            token.
        loss: loss of class tokens, called as `loss(teacher_views, student_views)` on lists of
            scores. `None` means `keras_ssl.losses.DINOLoss()`.
        patch_loss: loss of masked patches, called as `patch_loss(teacher_scores, student_scores,
            sample_weight=...)` with weight 0 for views that are not masked. `None` means
            `keras_ssl.losses.TokenDistillation()`.
        center: layer that centres the teacher's scores of class tokens. `None` means
            `keras_ssl.layers.Center(0.9)`.
        patch_center: layer that centres the teacher's scores of patches. `None` means another
            `keras_ssl.layers.Center(0.9)`.
        teacher_temperature: τ_teacher of both losses, above 0, or a schedule by optimizer steps.
            `None` means that each loss uses its own, 0.04 by default. The paper uses the warm-up
            `keras.optimizers.schedules.PolynomialDecay(0.04, steps, 0.07)`.
        momentum: momentum of the teacher's moving average, in [0, 1), or a schedule by optimizer
            steps. The paper raises it from 0.996 to 1:
            `keras_ssl.optimizers.cosine_momentum(0.996, steps)`.
        freeze_steps: number of optimizer steps at the start in which the prototypes are not
            updated; one epoch in the paper.
        seed: integer seed that decides which views are masked. The masking layer has its own.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, features)`, the features of the encoder.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range; before the first step, if there are not two global
            views of one size, a local view is larger, patches do not divide a view, or the masking
            is for another grid.

    Example:

    >>> import keras_ssl
    >>> from keras_ssl import augment, layers
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> large, small = augment.RandomResizedCrop(28), augment.RandomResizedCrop(14, (0.1, 0.4))
    >>> trainer = keras_ssl.trainers.iBOT(
    ...     encoder=keras_ssl.networks.vit((16, 1, 2), (28, 28, 1), patch_size=7),
    ...     projector=layers.ProjectionHead((32, 16), normalization=False, l2_normalize=True),
    ...     prototypes=layers.Prototypes(64),
    ...     augment=augment.AsymmetricViews([large, large, small]),
    ...     masking=layers.BlockMasking((4, 4), ratio=0.3, min_tokens=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['class', 'loss', 'patch']

    Reference:
        - [iBOT: Image BERT Pre-Training with Online Tokenizer](https://arxiv.org/abs/2111.07832),
          Zhou et al., 2021
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        prototypes: layers.Prototypes | None = None,
        augment: keras.layers.Layer | None = None,
        masking: keras.layers.Layer | None = None,
        mask_probability: float = 0.5,
        patch_projector: keras.layers.Layer | None = None,
        patch_prototypes: layers.Prototypes | None = None,
        loss: keras.losses.Loss | None = None,
        patch_loss: keras.losses.Loss | None = None,
        center: keras.layers.Layer | None = None,
        patch_center: keras.layers.Layer | None = None,
        teacher_temperature: float | keras.optimizers.schedules.LearningRateSchedule | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.996,
        freeze_steps: int = 0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        if patch_projector is None and patch_prototypes is not None:
            raise ValueError(
                "`patch_prototypes` need a `patch_projector`; without both, patches have the head "
                f"of the class token. Received: patch_prototypes={patch_prototypes}"
            )
        if patch_projector is not None and patch_prototypes is None:
            patch_prototypes = layers.Prototypes(8192)
        super().__init__(
            encoder,
            default_projector() if projector is None else projector,
            layers.Prototypes(8192) if prototypes is None else prototypes,
            patch_projector,
            patch_prototypes,
            masking,
            augment,
            losses.DINOLoss() if loss is None else loss,
            losses.TokenDistillation() if patch_loss is None else patch_loss,
            layers.Center() if center is None else center,
            layers.Center() if patch_center is None else patch_center,
            mask_probability,
            teacher_temperature,
            momentum,
            freeze_steps,
            seed,
            **kwargs,
        )

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(**self.patch_head)}
