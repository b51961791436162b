"""DINO: from any crop of an image, say what a slow teacher says of most of it."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, layers, losses
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.joint_embedding import MultiCrop, call_by_size
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class DINO(MultiCrop):
    r"""DINO: self-distillation with no labels.

    Of an image there are two global views and any number of local ones, which are smaller and show
    less. The student scores all views `s` over K prototypes; the teacher, whose weights are a
    moving average of the student's, scores the global views `t`. The student learns to give every
    view the distribution that the teacher gives to each other one:

        g = prototypes(projector(encoder(view)))
        q_t = softmax((g_teacher(t) - c) / τ_teacher),  p_s = softmax(g(s) / τ_student)
        L = - mean over pairs t ≠ s of Σ_k q_t(k) log p_s(k)

    Without negatives, two parts keep the teacher from a constant answer: the centre `c`, a moving
    mean of its scores, from one prototype for all; the low temperature from all prototypes alike.

    Crops of one size are encoded together, as in the published code. What a projector and
    prototypes do to an embedding of length 1 is the paper's head with weight normalisation.

    Args:
        encoder: `keras.Model` or layer that maps a batch to `(batch, features)`, for images
            of both sizes: a ResNet built for `(None, None, 3)`, or one over tokens that takes
            their number as it comes.
        projector: layer from features to embeddings. `None` means
            `keras_ssl.layers.ProjectionHead((2048, 2048, 256), normalization=False,
            activation="gelu", l2_normalize=True)`.
        prototypes: `keras_ssl.layers.Prototypes`. `None` means 65,536 of them.
        augment: layer that makes two global views of a batch and after them local ones, such as
            `keras_ssl.augment.MultiCropViews`. `None` means that the data holds ready views.
        loss: loss called `loss(teacher_scores, student_scores)`, on lists of `(batch, prototypes)`,
            one a view; a `teacher_temperature` below is passed on by its name. `None` means
            `keras_ssl.losses.DINOLoss()`.
        center: layer that takes the teacher's scores, `(views, batch, prototypes)`, in training
            mode once a step, and gives them centred. `None` means `keras_ssl.layers.Center(0.9)`;
            `keras.layers.Identity()` leaves it out.
        teacher_temperature: τ_teacher, above 0, or a schedule of it by optimizer steps. `None`
            means the loss' own, 0.04. The paper's warm-up is
            `keras.optimizers.schedules.PolynomialDecay(0.04, steps, 0.07)`.
        momentum: how much of the teacher's weights stays at each step: a number in [0, 1), or a
            schedule. The paper's rises from 0.996 to 1:
            `keras_ssl.optimizers.cosine_momentum(0.996, steps)`.
        freeze_steps: for how many optimizer steps at the start the prototypes do not learn. The
            paper has one epoch.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes, any structure of tensors; `(batch, height, width, channels)`
        for images.

    Output shape:
        What the encoder returns, `(batch, features)`.

    Raises:
        TypeError: if a part is not a Keras object of its kind, `momentum` or `teacher_temperature`
            neither number nor schedule, or `freeze_steps` no integer.
        ValueError: if `momentum` is outside [0, 1), `teacher_temperature` not above 0, or
            `freeze_steps` below 0; before the first step, if the data does not give two global
            views of one size and local ones that are no larger, or the encoder does not take
            both sizes.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.DINO(
    ...     encoder=keras_ssl.networks.resnet18(input_shape=(None, None, 1), width=4),
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
        _check_teacher_temperature(teacher_temperature)
        self.prototypes = prototypes
        self.center = center
        self.teacher_temperature = teacher_temperature
        self.freeze_steps = checks.integer("freeze_steps", freeze_steps, minimum=0)
        self.teacher = EMATeacher(self, ["encoder", "projector", "prototypes"], momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the student's embeddings of all views and the teacher's of the global ones."""
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
        """Return the distance of the student's distributions from the teacher's."""
        frozen = self.is_before(self.freeze_steps)
        # (views, batch, dim): the loss takes views one by one
        student = self.prototypes(ops.swapaxes(embeddings["student"], 0, 1), frozen=frozen)
        teacher = self.teacher_prototypes(ops.swapaxes(embeddings["teacher"], 0, 1))
        teacher = self.center(ops.stop_gradient(teacher), training=training)
        views = ops.unstack(teacher, axis=0), ops.unstack(student, axis=0)
        if self.teacher_temperature is None:
            return {"distillation": self.loss_function(*views)}
        tau = self.teacher_temperature
        tau = tau(self.steps_taken()) if callable(tau) else tau
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


def _check_teacher_temperature(temperature: Any) -> None:
    """Raise unless it is a number above 0, a schedule, or `None`."""
    is_schedule = isinstance(temperature, keras.optimizers.schedules.LearningRateSchedule)
    if temperature is not None and not is_schedule:
        checks.positive("teacher_temperature", temperature)
