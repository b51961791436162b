"""Layers that were changed between two calls of `fit`: adapted, or quantized."""

from typing import TYPE_CHECKING

import numpy as np

from keras_ssl._keras_internals import all_layers
from keras_ssl.trainers.teacher import derives_state

if TYPE_CHECKING:
    from keras_ssl.trainers.base import SelfSupervisedModel


def take_over_adapted(trainer: "SelfSupervisedModel") -> None:
    """Take note of layers that were adapted since the last step, such as `Normalization`."""
    copies = [copy for teacher in trainer._state.teachers for _, copy in teacher.pairs]
    of_copies = {id(one) for copy in copies for one in all_layers(copy)}
    adapted = [
        [np.asarray(weight).tobytes() for weight in one.weights]
        for one in all_layers(trainer)
        if id(one) not in of_copies and derives_state(one)
    ]
    if trainer._state.adapted not in (None, adapted):
        for teacher in trainer._state.teachers:
            teacher.take_over_adapted()
        trainer.renew_functions()  # what a layer derives is a constant of a traced step
    trainer._state.adapted = adapted


def check_not_quantized(trainer: "SelfSupervisedModel") -> None:
    """Raise a `ValueError` if layers that should learn are quantized."""
    # a frozen part, such as the teacher of a distillation, may be quantized
    frozen = {id(one) for part in trainer.frozen_parts() for one in all_layers(part)}
    layers = [one for one in all_layers(trainer)[1:] if id(one) not in frozen]
    # weights of float8 learn
    modes = {getattr(one.dtype_policy, "quantization_mode", None) for one in layers}
    modes -= {None, "float8"}
    if modes:
        raise ValueError(
            f"A quantized {type(trainer).__name__} cannot be trained: save it before `quantize`, "
            f"and train the saved one. Received: a trainer with layers in {sorted(modes)}"
        )
