"""Keras' distillation losses, as a trainer on several replicas needs them."""

import copy
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.distillation import DistillationLoss, FeatureDistillation, LogitsDistillation

from keras_ssl import checks, distribute


def checked_losses(losses: Any) -> list[DistillationLoss]:
    """Return distillation losses as a list.

    In Keras 3.15 a `LogitsDistillation` that is told its loss by name, as it is by default,
    calls the divergence of logits themselves. Here it gets `keras.losses.KLDivergence()`, with
    which it compares probabilities and multiplies by T², as its documentation says.

    Args:
        losses: a `keras.distillation.DistillationLoss`, or a list or tuple of them.

    Returns:
        A list of them.

    Raises:
        TypeError: if one is something else.
        ValueError: if there is none, or one mixes Keras losses with functions, of which Keras
            divides only the first by the number of replicas.
    """
    losses = list(losses) if isinstance(losses, (list, tuple)) else [losses]
    if not losses:
        raise ValueError("`distillation_losses` must hold at least one loss. Received: []")
    for one in losses:
        if not isinstance(one, DistillationLoss):
            raise TypeError(
                "`distillation_losses` must be one `keras.distillation.DistillationLoss` or a list "
                f"of them. Received: {one} of type {type(one)}"
            )
        if len({_is_share(part) for part in _parts(one)}) > 1:
            raise ValueError(
                "A distillation loss must have either Keras losses or functions as its parts. "
                f"Received: {one} with {one.loss}"
            )
    return [_of_probabilities(one) for one in losses]


def checked_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    """Return the weights of distillation losses as a list, 1 by default.

    Args:
        weights: `None` or a list of numbers of at least 0.
        count: how many losses there are.

    Raises:
        TypeError: if it is no list, or a weight no number.
        ValueError: if a weight is negative, or their number is not that of the losses.
    """
    if weights is None:
        return [1.0] * count
    if not isinstance(weights, (list, tuple)):
        raise TypeError(
            "`distillation_loss_weights` must be a list of numbers, one a loss. "
            f"Received: {weights!r} of type {type(weights)}"
        )
    for weight in weights:
        checks.number("distillation_loss_weights", weight, minimum=0)
    if len(weights) != count:
        raise ValueError(
            "`distillation_loss_weights` must hold one number a loss. "
            f"Received: {len(weights)} weights and {count} losses"
        )
    return [float(weight) for weight in weights]


def check_logits(argument: str, model: keras.layers.Layer, losses: list[DistillationLoss]) -> None:
    """Raise if a model ends in a softmax and a loss takes another one of what it gives.

    Args:
        argument: the name of the trainer's argument that `model` came by.
        model: teacher or student.
        losses: the distillation losses.

    Raises:
        ValueError: if it does: probabilities, which differ by less than 1, would all be nearly
            alike behind a second softmax.
    """
    last = model
    while getattr(last, "layers", None):
        last = last.layers[-1]
    is_softmax = isinstance(last, keras.layers.Softmax)
    is_softmax = is_softmax or getattr(last, "activation", None) is keras.activations.softmax
    if is_softmax and any(isinstance(one, LogitsDistillation) for one in losses):
        raise ValueError(
            f"`{argument}` must give logits, of which `LogitsDistillation` makes probabilities. "
            "Leave the softmax out (`activation=None`); the weights stay what they are. "
            f"Received: {model}, which ends in a softmax, {last}"
        )


def layer_names(loss: DistillationLoss) -> tuple[str | None, str | None]:
    """Return the layers of teacher and student that a loss compares; `None` for the output."""
    return getattr(loss, "teacher_layer_name", None), getattr(loss, "student_layer_name", None)


def value_of(loss: DistillationLoss, of_teacher: Any, of_student: Any) -> Any:
    """Compute a distillation loss.

    Args:
        loss: the loss.
        of_teacher: what the teacher gave, a row an example.
        of_student: what the student gave.

    Returns:
        Tensor of shape (1,): the mean over this replica's examples.

    Raises:
        ValueError: if shapes differ where Keras' losses compare them place by place.
    """
    if isinstance(loss, (LogitsDistillation, FeatureDistillation)):
        _check_same_width(loss, of_teacher, of_student)
    # 16 bits are too few for a softmax
    of_teacher, of_student = (ops.cast(one, "float32") for one in (of_teacher, of_student))
    loss.validate_outputs(of_teacher, of_student)
    value = ops.reshape(loss.compute_loss(of_teacher, of_student), (1,))
    divided = any(_is_share(part) for part in _parts(loss))
    return value * distribute.replica_count() if divided else value


def _check_same_width(loss: DistillationLoss, of_teacher: Any, of_student: Any) -> None:
    shapes = [tuple(one.shape[1:]) for one in (of_teacher, of_student)]
    if shapes[0] == shapes[1]:
        return
    names = layer_names(loss)
    what = "give the same number of classes" if names == (None, None) else "be of one shape there"
    raise ValueError(
        f"`teacher` and `encoder` must {what}, since {type(loss).__name__} compares their outputs "
        f"place by place. Received: teacher's {names[0] or 'output'} of shape (batch, "
        f"{', '.join(map(str, shapes[0]))}), student's {names[1] or 'output'} of shape (batch, "
        f"{', '.join(map(str, shapes[1]))})"
    )


def _parts(loss: DistillationLoss) -> list[Any]:
    """The losses or functions that it is made of; a class of the user's own may have none."""
    return [part for part in keras.tree.flatten(getattr(loss, "loss", None)) if part is not None]


def _is_share(part: Any) -> bool:
    """Whether Keras divides what this gives by the number of replicas."""
    return isinstance(part, keras.losses.Loss) and part.reduction not in (None, "none")


def _of_probabilities(loss: DistillationLoss) -> DistillationLoss:
    if not isinstance(loss, LogitsDistillation):
        return loss
    if not any(part is keras.losses.kl_divergence for part in _parts(loss)):
        return loss

    def as_object(part: Any) -> Any:
        return keras.losses.KLDivergence() if part is keras.losses.kl_divergence else part

    meant = copy.copy(loss)
    meant.loss = keras.tree.map_structure(as_object, loss.loss)
    return meant
