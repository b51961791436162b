"""Knowledge distillation: learn what a trained teacher says, and the labels if there are any."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.distillation import DistillationLoss, LogitsDistillation

from keras_ssl import checks
from keras_ssl.trainers._layer_outputs import LayerOutputs
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_one_view, check_type
from keras_ssl.trainers.distillation.distillation_losses import (
    check_logits,
    checked_losses,
    checked_weights,
    layer_names,
    value_of,
)
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import freeze


@keras.saving.register_keras_serializable(package="keras_ssl")
class KnowledgeDistillation(SelfSupervisedModel):
    r"""Knowledge distillation: a small student learns what a trained teacher says.

    Teacher and student see the same input and give logits, `v` and `z`, of the same classes. At a
    temperature T above 1 the teacher's probabilities tell how alike classes are. The loss is that
    of the labels (hard) and that of the teacher's softened probabilities (soft),

        L = α CE(y, softmax(z)) + (1 - α) T² KL(softmax(v / T), softmax(z / T))

    whose T² keeps the gradients of both at one scale, whatever T. With α = 0 no labels are
    needed. The divergence is the paper's cross entropy less the teacher's entropy, which has no
    gradient.

    The losses are those of `keras.distillation`: outputs (`LogitsDistillation`), outputs of
    layers within (`FeatureDistillation`), one's own `DistillationLoss`, or several of them with
    weights `w`, whose weighted sum stands in place of the second term. Where teacher and
    student are encoders, `FeatureDistillation("mse")` compares their features. What
    `keras.distillation.Distiller` lacks: micro-batches, replicas, the probe, training without
    labels. The two terms are reported, weighted, as `hard` and `distillation`.

    The teacher runs in inference mode, is frozen (`teacher.trainable` becomes `False`, as Keras'
    `Distiller` does it) and gets neither gradient nor optimizer state. It is saved with the
    trainer, so that a trainer's file can be trained on by itself; `trainer.encoder`, the student,
    is the product.

    Args:
        encoder: the student: `keras.Model` or layer, from a batch of input to `(batch, classes)`.
            Logits, no softmax.
        teacher: `keras.Model` or layer with trained weights, from the same input.
        augment: layer from a batch of input to a batch of input, such as
            `keras_ssl.augment.RandomResizedCrop`, of which both see what it gives. `None` means
            the input as it is.
        distillation_losses: `keras.distillation.DistillationLoss` or a list of them, each called
            as `Distiller` calls it; a loss of one's own must return a mean over the examples that
            it gets. `None` means `keras.distillation.LogitsDistillation(temperature=3.0)`.
        distillation_loss_weights: list of `w`, numbers of at least 0, one a loss. `None` means 1.
        student_loss: loss of the labels, called `loss(y, z)`. `None` means
            `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.
        student_loss_weight: α, in [0, 1]. Above 0 the data must have labels.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of input.
        training: whether the student runs in training mode.

    Input shape:
        What student and teacher take.

    Output shape:
        What the student gives, `(batch, classes)`.

    Raises:
        TypeError: if a part is not a Keras object of its kind, or a weight no number.
        ValueError: if the teacher has no weights or shares them with the student, one of the two
            ends in a softmax where `LogitsDistillation` takes one, a weight is negative, α above
            1, weights and losses differ in number, or a named layer is not there; before the
            first step, if teacher and student differ in classes, or α is above 0 and the data has
            no labels.

    Example:

    >>> import keras_ssl
    >>> data = keras_ssl.data.load_images("fashion_mnist_mini", "train")
    >>> def classifier(width):
    ...     encoder = keras_ssl.networks.resnet18(input_shape=(28, 28, 1), width=width)
    ...     return keras.Sequential([encoder, keras.layers.Dense(10)])
    >>> teacher = classifier(width=8)  # and train it
    >>> trainer = keras_ssl.trainers.KnowledgeDistillation(
    ...     encoder=classifier(width=4),
    ...     teacher=teacher,
    ...     distillation_losses=keras.distillation.LogitsDistillation(temperature=4.0),
    ...     student_loss_weight=0.1,
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(data.batch(8).take(2), verbose=0)
    >>> sorted(history.history)
    ['distillation', 'hard', 'loss']

    Reference:
        - [Distilling the Knowledge in a Neural Network](https://arxiv.org/abs/1503.02531), Hinton
          et al., 2015
    """

    view_count = 1

    def __init__(
        self,
        encoder: keras.layers.Layer,
        teacher: keras.layers.Layer,
        augment: keras.layers.Layer | None = None,
        distillation_losses: DistillationLoss | Sequence[DistillationLoss] | None = None,
        distillation_loss_weights: Sequence[float] | None = None,
        student_loss: keras.losses.Loss | None = None,
        student_loss_weight: float = 0.5,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        _check_teacher(teacher, encoder)
        if distillation_losses is None:
            distillation_losses = LogitsDistillation(temperature=3.0)
        if student_loss is None:
            student_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        check_type("student_loss", student_loss, keras.losses.Loss)
        checks.number("student_loss_weight", student_loss_weight, minimum=0)
        if student_loss_weight > 1:
            raise ValueError(
                "`student_loss_weight` must be at most 1: the teacher's losses get the rest. "
                f"Received: student_loss_weight={student_loss_weight}"
            )
        self.teacher = teacher
        self.teacher.trainable = False
        freeze(self.teacher)
        self.distillation_losses = checked_losses(distillation_losses)
        for name, model in (("encoder", encoder), ("teacher", teacher)):
            check_logits(name, model, self.distillation_losses)
        count = len(self.distillation_losses)
        self.distillation_loss_weights = checked_weights(distillation_loss_weights, count)
        self.student_loss = student_loss
        self.student_loss_weight = float(student_loss_weight)
        of_teacher, of_student = zip(*map(layer_names, self.distillation_losses), strict=True)
        self._of_teacher = LayerOutputs("teacher", teacher, _named(of_teacher))
        self._of_student = LayerOutputs("encoder", encoder, _named(of_student))

    @property
    def uses_labels(self) -> bool:
        """Whether the labels have a part in the loss."""
        return self.student_loss_weight > 0

    def build_step(self, x: Any, y: Any) -> None:
        """Create all that a training step needs; see `SelfSupervisedModel.build_step`."""
        if self.uses_labels and y is None:
            raise ValueError(
                "KnowledgeDistillation learns from labels with `student_loss_weight="
                f"{self.student_loss_weight}`. Expected data of `(x, y)`, or "
                "`student_loss_weight=0`, to learn from the teacher alone. "
                "Received: data without `y`"
            )
        super().build_step(x, y)

    def check_views(self, views: Any) -> None:
        """Raise unless there is one view, for teacher and student."""
        check_one_view(views, self.encoder)

    def check_representation(self, features: Any) -> None:
        """Raise unless the student returns one vector per example."""
        check_features(features)

    def frozen_parts(self) -> list[keras.layers.Layer]:
        """Return the teacher."""
        return [*super().frozen_parts(), self.teacher]

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the outputs of student and teacher, those of layers, and the labels if used."""
        z, z_within = self._of_student(batch.views, training=training)
        v, v_within = self._of_teacher(batch.views, training=False)
        embeddings = {_key("student", name): one for name, one in {None: z, **z_within}.items()}
        for name, one in {None: v, **v_within}.items():
            embeddings[_key("teacher", name)] = ops.stop_gradient(one)
        if self.uses_labels:
            embeddings["labels"] = batch.y
        return {**embeddings, "representation": z}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the weighted losses of labels and teacher."""
        distillation = 0.0
        for loss, weight in zip(
            self.distillation_losses, self.distillation_loss_weights, strict=True
        ):
            of_teacher, of_student = layer_names(loss)
            distillation += weight * value_of(
                loss,
                embeddings[_key("teacher", of_teacher)],
                embeddings[_key("student", of_student)],
            )
        losses = {"distillation": (1 - self.student_loss_weight) * distillation}
        if self.uses_labels:
            hard = self.student_loss(embeddings["labels"], embeddings["student"])
            losses["hard"] = self.student_loss_weight * hard
        return losses

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            teacher=self.teacher,
            distillation_losses=list(self.distillation_losses),
            student_loss=self.student_loss,
        )
        return {
            **super().get_config(),
            **parts,
            "distillation_loss_weights": list(self.distillation_loss_weights),
            "student_loss_weight": self.student_loss_weight,
        }


def _key(whose: str, layer: str | None) -> str:
    """The name of an output among the embeddings."""
    return whose if layer is None else f"{whose}'s {layer}"


def _named(layers: Sequence[str | None]) -> list[str]:
    """The layers among these, each once."""
    return list(dict.fromkeys(name for name in layers if name is not None))


def _check_teacher(teacher: Any, encoder: keras.layers.Layer) -> None:
    check_type("teacher", teacher, keras.layers.Layer)
    if not teacher.built or not teacher.weights:
        raise ValueError(
            "`teacher` must be a trained model, and this one has no weights yet: build it and load "
            f"its weights first. Received: {teacher}"
        )
    shared = {id(weight) for weight in teacher.weights} & {id(weight) for weight in encoder.weights}
    if shared:
        raise ValueError(
            "`teacher`, which is frozen, must not share weights with the student, `encoder`. "
            f"Received: {len(shared)} weights that both have"
        )
