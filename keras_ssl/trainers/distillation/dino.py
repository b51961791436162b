"""DINO: predict the output of a momentum teacher for a global view from all other views."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, layers, losses
from keras_ssl.ops.schedules import value_now
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.joint_embedding import MultiCrop, call_by_size
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class DINO(MultiCrop):
    r"""DINO: self-distillation with no labels.

    Each example has two global views and any number of smaller, local views. The student scores
    all views s with K prototypes. The teacher, whose weights are a moving average of those of the
    student, scores the global views t. From each view s, the student predicts the distribution of
    the teacher for every other view t:

        g = prototypes(projector(encoder(view)))
        q_t = softmax((g_teacher(t) - c) / τ_teacher),  p_s = softmax(g(s) / τ_student)
        L = - mean over pairs t ≠ s of Σ_k q_t(k) log p_s(k)

    Collapse is prevented by the centre c, a moving average of the scores of the teacher, which
    keeps a single prototype from dominating, and by the low temperature τ_teacher, which keeps the
    teacher from the uniform distribution.

    Views of the same size are encoded together, as in the published code. Projector and prototypes
    together are the head of the paper; prototypes have length 1, as with weight normalisation.

    Args:
        encoder: `keras.Model` or layer that maps a batch of views of any of the sizes to
            `(batch, features)`, such as a ResNet built for `(None, None, 3)` or a vision
            transformer for any number of tokens.
        projector: layer that maps features to embeddings. `None` means
            `keras_ssl.layers.ProjectionHead((2048, 2048, 256), normalization=False,
            activation="gelu", l2_normalize=True)`.
        prototypes: `keras_ssl.layers.Prototypes`. `None` means 65,536 of them.
        augment: layer that makes two global views of a batch, followed by local ones, such as
            `keras_ssl.augment.MultiCropViews`. `None` if the data already holds views.
        loss: loss called `loss(teacher_scores, student_scores)` on lists of `(batch, prototypes)`,
            one per view, with the keyword `teacher_temperature` if that is given below. `None`
            means `keras_ssl.losses.DINOLoss()`.
        center: layer that centres the scores of the teacher, `(views, batch, prototypes)`. `None`
            means `keras_ssl.layers.Center(0.9)`; use `keras.layers.Identity()` for no centring.
        teacher_temperature: τ_teacher, above 0, or a schedule by optimizer steps. `None` means that
            of the loss, 0.04. The paper uses the warm-up
            `keras.optimizers.schedules.PolynomialDecay(0.04, steps, 0.07)`.
        momentum: of the teacher, in [0, 1), or a schedule by optimizer steps. The paper raises it
            from 0.996 to 1: `keras_ssl.optimizers.cosine_momentum(0.996, steps)`.
        freeze_steps: number of optimizer steps at the start in which the prototypes are not
            updated; one epoch in the paper.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `momentum` is outside [0, 1), `teacher_temperature` is not positive, or
            `freeze_steps` is negative; before the first step, if there are not two global views of
            one size, a local view is larger, or the encoder does not take all sizes.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.DINO(
    ...     encoder=keras_ssl.networks.small_resnet((None, None, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16), l2_normalize=True),
    ...     prototypes=keras_ssl.layers.Prototypes(128),
    ...     augment=keras_ssl.augment.MultiCropViews(28, 14, local_count=2),
    ...     momentum=keras_ssl.optimizers.cosine_momentum(0.996, steps=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Emerging Properties in Self-Supervised Vision Transformers](
          https://arxiv.org/abs/2104.14294), Caron et al., 2021
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        prototypes: layers.Prototypes | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        center: keras.layers.Layer | None = None,
        teacher_temperature: float | keras.optimizers.schedules.LearningRateSchedule | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.996,
        freeze_steps: int = 0,
        **kwargs: Any,
    ):
        if projector is None:
            projector = layers.ProjectionHead(
                (2048, 2048, 256), normalization=False, activation="gelu", l2_normalize=True
            )
        loss = losses.DINOLoss() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)
        prototypes = layers.Prototypes(65_536) if prototypes is None else prototypes
        center = layers.Center() if center is None else center
        check_type("prototypes", prototypes, layers.Prototypes)
        check_type("center", center, keras.layers.Layer)
        if teacher_temperature is not None:
            checks.positive_or_schedule("teacher_temperature", teacher_temperature)
        self.prototypes = prototypes
        self.center = center
        self.teacher_temperature = teacher_temperature
        self.freeze_steps = checks.integer("freeze_steps", freeze_steps, minimum=0)
        self.teacher = EMATeacher(self, ["encoder", "projector", "prototypes"], momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return embeddings of all views by the student, of the global views by the teacher."""
        h, student = self.project_crops(batch.views, training)
        global_views = batch.views[: self.global_count]
        teacher = call_by_size(lambda view: self.teacher.project(view, training), global_views)
        # one row per example: (batch, views, dim)
        return {
            "student": ops.stack(student, axis=1),
            "teacher": ops.stack(teacher, axis=1),
            "representation": h[0],
        }

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the cross-entropy of the teacher's and the student's distributions."""
        frozen = self.is_before(self.freeze_steps)
        # (views, batch, dim)
        student = self.prototypes(ops.swapaxes(embeddings["student"], 0, 1), frozen=frozen)
        teacher = self.teacher_prototypes(ops.swapaxes(embeddings["teacher"], 0, 1))
        teacher = self.center(ops.stop_gradient(teacher), training=training)
        views = ops.unstack(teacher, axis=0), ops.unstack(student, axis=0)
        if self.teacher_temperature is None:
            return {"distillation": self.loss_function(*views)}
        tau = value_now(self.teacher_temperature, "teacher_temperature")
        return {"distillation": self.loss_function(*views, teacher_temperature=tau)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            prototypes=self.prototypes,
            center=self.center,
            teacher_temperature=self.teacher_temperature,
            momentum=self.teacher.momentum,
        )
        return {**super().get_config(), **parts, "freeze_steps": self.freeze_steps}
