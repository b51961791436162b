"""DINOv2: DINO and iBOT with two heads, Sinkhorn centring and spread features."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, layers, losses
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.masked._masked_self_distillation import (
    MaskedSelfDistillation,
    default_projector,
)
from keras_ssl.trainers.parts import serialize_parts


@keras.saving.register_keras_serializable(package="keras_ssl")
class DINOv2(MaskedSelfDistillation):
    r"""DINOv2: DINO's loss of class tokens and iBOT's loss of patches, each with its own head.

    The student sees two global views with blocks of patches replaced by a mask token, and local
    ones; the teacher, whose weights are a moving average of those of the student, sees the global
    ones whole. With a head for class tokens and another for patches, as in `trainers.iBOT`:

        L = L_class + L_patch + λ KoLeo(features of both global views)

    The teacher's distributions are balanced over the batch by three iterations of Sinkhorn-Knopp
    (`layers.SinkhornCenter`) instead of a moving centre, and KoLeo (`losses.KoLeo`) spreads the
    student's features over the sphere.

    The authors mask half of the views, and between 10 and 50 % of the patches of each. Here the
    share of patches is always the same, so that shapes are static. The masking chooses patches in
    views that are not masked, too: the teacher's scores of these take part in the balancing, but
    not in the loss.

    Args:
        encoder: `networks.TokenEncoder` that takes views of all sizes, such as
            `networks.vit(..., registers=4)`. Its `"features"` are those of the class token.
        projector: layer that maps features `(n, features)` to embeddings `(n, dim)`. `None` means
            `keras_ssl.layers.ProjectionHead((2048, 2048, 256), normalization=False,
            activation="gelu", l2_normalize=True)`.
        prototypes: `keras_ssl.layers.Prototypes`, which scores embeddings. `None` means
            `keras_ssl.layers.Prototypes(65_536)`.
        augment: layer that returns two global views of a batch, followed by any number of local
            ones, such as `keras_ssl.augment.MultiCropViews(local_count=8)`. `None` if the data
            already holds views.
        masking: layer that chooses the patches to mask in a view: it maps tokens
            `(batch, patches, width)` to booleans `(batch, patches)` with as many `True` in every
            example, and has a method `count(patches)` that returns how many. `None` means
            `keras_ssl.layers.BlockMasking((14, 14), ratio=0.3)`, for views of 224x224 pixels and
            patches of 16x16.
        mask_probability: probability, in [0, 1], that a global view is masked. The student sees
            the other global views, and all local ones, whole.
        shared_head: whether patches share projector and prototypes with the class token, as in the
            smaller models of the paper.
        patch_projector: projector for the outputs of patches, unless `shared_head`. `None` means
            another one like the default of `projector`.
        patch_prototypes: prototypes for the embeddings of patches, unless `shared_head`. `None`
            means another `keras_ssl.layers.Prototypes(65_536)`.
        loss: loss of class tokens, called as `loss(teacher_views, student_views,
            teacher_temperature=...)` on lists of scores. `None` means
            `keras_ssl.losses.DINOLoss()`.
        patch_loss: loss of masked patches, called as `patch_loss(teacher_scores, student_scores,
            sample_weight=..., teacher_temperature=...)` with weight 0 for views that are not
            masked. `None` means `keras_ssl.losses.TokenDistillation()`.
        center: layer that centres the teacher's scores of class tokens. `None` means
            `keras_ssl.layers.SinkhornCenter(teacher_temperature)`.
        patch_center: layer that centres the teacher's scores of patches. `None` means another
            `keras_ssl.layers.SinkhornCenter(teacher_temperature)`.
        ko_leo: loss that spreads the student's features of a global view. `None` means
            `keras_ssl.losses.KoLeo()`.
        ko_leo_weight: λ, at least 0, the weight of `ko_leo` for each of the two global views.
        teacher_temperature: τ_teacher of both losses, above 0, or a schedule by optimizer steps.
            The authors use the warm-up
            `keras.optimizers.schedules.PolynomialDecay(0.04, steps, 0.07)`.
        momentum: momentum of the teacher's moving average, in [0, 1), or a schedule by optimizer
            steps. The authors raise it from 0.992 to 1:
            `keras_ssl.optimizers.cosine_momentum(0.992, steps)`.
        freeze_steps: number of optimizer steps at the start in which the prototypes are not
            updated; one epoch in the authors' code.
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
        ValueError: if a number is out of range; before the first step, if a batch holds a single
            example, there are not two global views of one size, a local view is larger, patches do
            not divide a view, or the masking is for another grid.

    Example:

    >>> import keras_ssl
    >>> from keras_ssl import augment, layers
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> def head():
    ...     return layers.ProjectionHead((32, 16), normalization=False, l2_normalize=True)
    >>> large, small = augment.RandomResizedCrop(28), augment.RandomResizedCrop(14, (0.1, 0.4))
    >>> trainer = keras_ssl.trainers.DINOv2(
    ...     encoder=keras_ssl.networks.vit((16, 1, 2), (28, 28, 1), patch_size=7, registers=2),
    ...     projector=head(),
    ...     prototypes=layers.Prototypes(64),
    ...     patch_projector=head(),
    ...     patch_prototypes=layers.Prototypes(64),
    ...     augment=augment.AsymmetricViews([large, large, small]),
    ...     masking=layers.BlockMasking((4, 4), ratio=0.3, min_tokens=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['class', 'ko_leo', 'loss', 'patch']

    Reference:
        - [DINOv2: Learning Robust Visual Features without Supervision](
          https://arxiv.org/abs/2304.07193), Oquab et al., 2023
        - [Vision Transformers Need Registers](https://arxiv.org/abs/2309.16588), Darcet et al.,
          2023
    """

    minimum_batch = 2  # KoLeo pushes an example from its nearest neighbour

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        prototypes: layers.Prototypes | None = None,
        augment: keras.layers.Layer | None = None,
        masking: keras.layers.Layer | None = None,
        mask_probability: float = 0.5,
        shared_head: bool = False,
        patch_projector: keras.layers.Layer | None = None,
        patch_prototypes: layers.Prototypes | None = None,
        loss: keras.losses.Loss | None = None,
        patch_loss: keras.losses.Loss | None = None,
        center: keras.layers.Layer | None = None,
        patch_center: keras.layers.Layer | None = None,
        ko_leo: keras.losses.Loss | None = None,
        ko_leo_weight: float = 0.1,
        teacher_temperature: float | keras.optimizers.schedules.LearningRateSchedule = 0.07,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.992,
        freeze_steps: int = 0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        checks.positive_or_schedule("teacher_temperature", teacher_temperature)
        if shared_head and (patch_projector is not None or patch_prototypes is not None):
            raise ValueError(
                "`shared_head=True` leaves no place for a head of patches. Received: "
                f"patch_projector={patch_projector}, patch_prototypes={patch_prototypes}"
            )
        if not shared_head:
            patch_projector = default_projector() if patch_projector is None else patch_projector
            if patch_prototypes is None:
                patch_prototypes = layers.Prototypes(65_536)
        super().__init__(
            encoder,
            default_projector() if projector is None else projector,
            layers.Prototypes(65_536) if prototypes is None else prototypes,
            patch_projector,
            patch_prototypes,
            masking,
            augment,
            losses.DINOLoss() if loss is None else loss,
            losses.TokenDistillation() if patch_loss is None else patch_loss,
            layers.SinkhornCenter(teacher_temperature) if center is None else center,
            layers.SinkhornCenter(teacher_temperature) if patch_center is None else patch_center,
            mask_probability,
            teacher_temperature,
            momentum,
            freeze_steps,
            seed,
            **kwargs,
        )
        ko_leo = losses.KoLeo() if ko_leo is None else ko_leo
        check_type("ko_leo", ko_leo, keras.losses.Loss)
        self.ko_leo = ko_leo
        self.ko_leo_weight = checks.number("ko_leo_weight", ko_leo_weight, minimum=0)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the cross-entropies of features and patches, and the spread of features."""
        views = ops.unstack(embeddings["features"], axis=1)
        spread = self.ko_leo_weight * sum(self.ko_leo(features) for features in views)
        return {**super().losses_of(embeddings, training), "ko_leo": spread}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        own = {"shared_head": self.has_shared_head, "ko_leo_weight": self.ko_leo_weight}
        parts = serialize_parts(**self.patch_head, ko_leo=self.ko_leo)
        return {**super().get_config(), **parts, **own}
