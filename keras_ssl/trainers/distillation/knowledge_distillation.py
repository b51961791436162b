"""Knowledge distillation: learn from the outputs of a trained teacher and from labels, if any."""

import copy
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.distillation import DistillationLoss, FeatureDistillation, LogitsDistillation

from keras_ssl import checks, distribute
from keras_ssl.trainers._class_labels import are_class_labels, class_labels, weights_of_labelled
from keras_ssl.trainers._layer_outputs import LayerOutputs
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import (
    check_features,
    check_one_view,
    check_trained_teacher,
    check_type,
)
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import freeze


@keras.saving.register_keras_serializable(package="keras_ssl")
class KnowledgeDistillation(SelfSupervisedModel):
    r"""Knowledge distillation: train a small student to match a trained teacher.

    Teacher and student see the same input and return logits v and z for the same classes. The loss
    combines the cross-entropy of the labels (hard) and the divergence from the probabilities of
    the teacher (soft), which a temperature T above 1 makes less peaked:

        L = α CE(y, softmax(z)) + (1 - α) T² KL(softmax(v / T), softmax(z / T))

    The factor T² keeps both gradients on the same scale for any T. With α = 0 no labels are needed.
    The divergence is the cross-entropy of the paper minus the entropy of the teacher, which has no
    gradient.

    The soft loss is any loss of `keras.distillation`: on outputs (`LogitsDistillation`), on outputs
    of intermediate layers (`FeatureDistillation`), a custom `DistillationLoss`, or a weighted sum
    of several. If teacher and student are encoders, `FeatureDistillation("mse")` compares their
    features. Unlike `keras.distillation.Distiller`, this trainer supports micro-batches, replicas,
    the online probe and training without labels. The two terms are reported, weighted, as `hard`
    and `distillation`.

    Not every example needs a label: with class indices as labels, -1 means that there is none. Such
    an example counts in the soft loss, and the hard loss is the mean over the labelled ones.

    The teacher runs in inference mode and is frozen: `teacher.trainable` becomes `False`, as in
    `Distiller`. It is saved with the trainer. `trainer.encoder`, the student, is the product.

    Args:
        encoder: the student: `keras.Model` or layer that maps a batch to logits,
            `(batch, classes)`, without a softmax.
        teacher: `keras.Model` or layer with trained weights that takes the same input.
        augment: layer that makes one view of a batch, for both teacher and student, such as
            `keras_ssl.augment.RandomResizedCrop`. `None` leaves the input unchanged.
        distillation_losses: `keras.distillation.DistillationLoss` or a list of them. A custom one
            must return a mean over the examples. `None` means
            `keras.distillation.LogitsDistillation(temperature=3.0)`.
        distillation_loss_weights: list of numbers of at least 0, one per loss. `None` means 1.
        student_loss: loss of the labels, called `loss(y, z)`. `None` means
            `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.
        student_loss_weight: α, in [0, 1]. Above 0, the data must have labels.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the student takes.
        training: whether the student runs in training mode.

    Input shape:
        What student and teacher take: any structure of tensors.

    Output shape:
        `(batch, classes)`, the output of the student.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the teacher has no weights or shares them with the student, one of the two
            ends in a softmax and `LogitsDistillation` is used, a weight is out of range, the
            numbers of weights and losses differ, or a named layer does not exist; before the first
            step, if the outputs of teacher and student differ in shape, or labels are missing.

    Example:

    >>> import keras_ssl
    >>> data = keras_ssl.data.load_images("fashion_mnist_mini", "train")
    >>> def classifier(width):
    ...     encoder = keras_ssl.networks.small_resnet((28, 28, 1), width=2 * width)
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
        check_trained_teacher(teacher, encoder)
        if distillation_losses is None:
            distillation_losses = LogitsDistillation(temperature=3.0)
        if student_loss is None:
            student_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        check_type("student_loss", student_loss, keras.losses.Loss)
        checks.number("student_loss_weight", student_loss_weight, minimum=0, maximum=1)
        self.teacher = teacher
        self.teacher.trainable = False
        freeze(self.teacher)
        self.distillation_losses = _check_losses(distillation_losses)
        for name, model in (("encoder", encoder), ("teacher", teacher)):
            _check_logits(name, model, self.distillation_losses)
        count = len(self.distillation_losses)
        self.distillation_loss_weights = _check_weights(distillation_loss_weights, count)
        self.student_loss = student_loss
        self.student_loss_weight = float(student_loss_weight)
        of_teacher, of_student = zip(*map(_layer_names, self.distillation_losses), strict=True)
        self._of_teacher = LayerOutputs("teacher", teacher, _named(of_teacher))
        self._of_student = LayerOutputs("encoder", encoder, _named(of_student))

    @property
    def uses_labels(self) -> bool:
        """Whether the loss depends on labels."""
        return self.student_loss_weight > 0

    def build_step(self, x: Any, y: Any) -> None:
        """Create all that a training step needs; see `SelfSupervisedModel.build_step`."""
        if self.uses_labels and y is None:
            raise ValueError(
                "KnowledgeDistillation learns from labels with `student_loss_weight="
                f"{self.student_loss_weight}`. Expected data of `(x, y)`, or "
                "`student_loss_weight=0` to learn from the teacher alone. "
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
        """Return outputs of student and teacher and of their named layers, and labels if used."""
        z, z_by_layer = self._of_student(batch.views, training=training)
        v, v_by_layer = self._of_teacher(batch.views, training=False)
        embeddings = {_key("student", name): one for name, one in {None: z, **z_by_layer}.items()}
        for name, one in {None: v, **v_by_layer}.items():
            embeddings[_key("teacher", name)] = ops.stop_gradient(one)
        if self.uses_labels:
            embeddings["labels"] = batch.y
        return {**embeddings, "representation": z}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the weighted losses of labels and teacher."""
        distillation = 0.0
        weights = self.distillation_loss_weights
        for loss, weight in zip(self.distillation_losses, weights, strict=True):
            of_teacher, of_student = _layer_names(loss)
            v = embeddings[_key("teacher", of_teacher)]
            z = embeddings[_key("student", of_student)]
            distillation += weight * _value_of(loss, v, z)
        losses = {"distillation": (1 - self.student_loss_weight) * distillation}
        if self.uses_labels:
            hard = self._hard_loss(embeddings["labels"], embeddings["student"])
            losses["hard"] = self.student_loss_weight * hard
        return losses

    @property
    def _has_class_labels(self) -> bool:
        """Whether the labels are indices of classes, -1 among them free to mean no label."""
        loss = self.student_loss
        is_sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
        return self.uses_labels and is_sparse and loss.ignore_class is None

    def label_classes(self) -> float | None:
        """Return the number of classes of student or probe, infinity if it is not known yet."""
        classes = super().label_classes()
        if not self._has_class_labels:
            return classes
        spec = self._state.representation_spec
        shape = getattr(self.encoder, "output_shape", None) if spec is None else spec.shape
        is_known = isinstance(shape, tuple) and len(shape) == 2 and shape[1] is not None
        of_student = shape[1] if is_known else float("inf")
        return of_student if classes is None else min(classes, of_student)

    def _hard_loss(self, y: Any, z: Any) -> Any:
        if not (self._has_class_labels and are_class_labels(y)):
            return self.student_loss(y, z)
        labels, is_known, fault = class_labels(y, z.shape[-1])
        weights = ops.cast(is_known, "float32")
        if self.student_loss.reduction != "sum":
            # Keras divides by the number of all examples, not of labelled ones
            weights = weights_of_labelled(is_known)
        hard = self.student_loss(labels, z, sample_weight=weights)
        return hard + ops.cast(fault, hard.dtype)

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the student of a trainer that is made by its name: it ends as the teacher does."""
        of_teacher = images.part("teacher").compute_output_shape((None, *images.shape))
        head = keras.layers.Dense(of_teacher[-1], name="head")
        return keras.Sequential([keras.Input(images.shape), super().encoder_for(images), head])

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            teacher=self.teacher,
            distillation_losses=list(self.distillation_losses),
            student_loss=self.student_loss,
        )
        weights = {
            "distillation_loss_weights": list(self.distillation_loss_weights),
            "student_loss_weight": self.student_loss_weight,
        }
        return {**super().get_config(), **parts, **weights}


def _key(whose: str, layer: str | None) -> str:
    """Return the name of an output among the embeddings."""
    return whose if layer is None else f"{whose}'s {layer}"


def _named(layers: Sequence[str | None]) -> list[str]:
    """Return the names of layers without duplicates and `None`."""
    return list(dict.fromkeys(name for name in layers if name is not None))


def _layer_names(loss: DistillationLoss) -> tuple[str | None, str | None]:
    """Return the layers of teacher and student that a loss compares; `None` for the output."""
    return getattr(loss, "teacher_layer_name", None), getattr(loss, "student_layer_name", None)


def _check_losses(losses: Any) -> list[DistillationLoss]:
    """Return distillation losses as a list, or raise."""
    losses = list(losses) if isinstance(losses, (list, tuple)) else [losses]
    if not losses:
        raise ValueError("`distillation_losses` must hold at least one loss. Received: []")
    for one in losses:
        if not isinstance(one, DistillationLoss):
            raise TypeError(
                "`distillation_losses` must be one `keras.distillation.DistillationLoss` or a list "
                f"of them. Received: {one} of type {type(one)}"
            )
        # Keras divides only the former by the number of replicas
        if len({_is_share(part) for part in _parts(one)}) > 1:
            raise ValueError(
                "A distillation loss must be made of either Keras losses or functions, not both. "
                f"Received: {one} with {one.loss}"
            )
    return [_of_probabilities(one) for one in losses]


def _check_weights(weights: Any, count: int) -> list[float]:
    """Return the weights of distillation losses as a list, 1 by default, or raise."""
    if weights is None:
        return [1.0] * count
    if not isinstance(weights, (list, tuple)):
        raise TypeError(
            "`distillation_loss_weights` must be a list of numbers, one per loss. "
            f"Received: {weights!r} of type {type(weights)}"
        )
    for weight in weights:
        checks.number("distillation_loss_weights", weight, minimum=0)
    if len(weights) != count:
        raise ValueError(
            "`distillation_loss_weights` must hold one number per loss. "
            f"Received: {len(weights)} weights and {count} losses"
        )
    return [float(weight) for weight in weights]


def _check_logits(name: str, model: keras.layers.Layer, losses: list[DistillationLoss]) -> None:
    """Raise if `model` ends in a softmax and a loss would apply a second one."""
    last = model
    while getattr(last, "layers", None):
        last = last.layers[-1]
    is_softmax = isinstance(last, keras.layers.Softmax)
    is_softmax = is_softmax or getattr(last, "activation", None) is keras.activations.softmax
    if is_softmax and any(isinstance(one, LogitsDistillation) for one in losses):
        raise ValueError(
            f"`{name}` must return logits, to which `LogitsDistillation` applies a softmax. Remove "
            "the softmax from the model (`activation=None`), which does not change its weights. "
            f"Received: {model}, which ends in a softmax, {last}"
        )


def _value_of(loss: DistillationLoss, v: Any, z: Any) -> Any:
    """Return the mean of a distillation loss over the examples of this replica, shape (1,)."""
    if isinstance(loss, (LogitsDistillation, FeatureDistillation)):
        _check_same_width(loss, v, z)
    v, z = (ops.cast(one, "float32") for one in (v, z))  # 16 bits are too few for a softmax
    loss.validate_outputs(v, z)
    value = ops.reshape(loss.compute_loss(v, z), (1,))
    is_share = any(_is_share(part) for part in _parts(loss))
    return value * distribute.replica_count() if is_share else value


def _check_same_width(loss: DistillationLoss, v: Any, z: Any) -> None:
    shapes = [tuple(one.shape[1:]) for one in (v, z)]
    if shapes[0] == shapes[1]:
        return
    names = _layer_names(loss)
    what = "number of classes" if names == (None, None) else "shape in the compared layers"
    raise ValueError(
        f"`teacher` and `encoder` must have the same {what}, since {type(loss).__name__} compares "
        f"their outputs elementwise. Received: teacher's {names[0] or 'output'} of shape (batch, "
        f"{', '.join(map(str, shapes[0]))}), student's {names[1] or 'output'} of shape (batch, "
        f"{', '.join(map(str, shapes[1]))})"
    )


def _parts(loss: DistillationLoss) -> list[Any]:
    """Return the losses or functions that a loss is made of; a custom class may have none."""
    return [part for part in keras.tree.flatten(getattr(loss, "loss", None)) if part is not None]


def _is_share(part: Any) -> bool:
    """Return whether Keras divides the value of `part` by the number of replicas."""
    return isinstance(part, keras.losses.Loss) and part.reduction not in (None, "none")


def _of_probabilities(loss: DistillationLoss) -> DistillationLoss:
    """Work around `LogitsDistillation` of Keras 3.15, which by default compares raw logits.

    With a `keras.losses.KLDivergence` object in place of the function, it compares probabilities
    and multiplies by T², as documented.
    """
    divergence = keras.losses.kl_divergence
    if not isinstance(loss, LogitsDistillation) or divergence not in _parts(loss):
        return loss
    fixed = copy.copy(loss)
    fixed.loss = keras.tree.map_structure(
        lambda part: keras.losses.KLDivergence() if part is divergence else part, loss.loss
    )
    return fixed
