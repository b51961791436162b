"""Run the trainers of the cases: made and built alike each time, and traced only once."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.trainers.cases import CASES


def make(name: str, optimizer: Any = None, seed: int = 1, **compile_arguments: Any):
    """Return a compiled trainer. Two calls give equal weights and equal random numbers."""
    keras.utils.set_random_seed(seed)
    case = CASES[name]
    trainer = case.make()
    trainer.compile(optimizer=optimizer or case.sgd(), **compile_arguments)
    return trainer


def batches(name: str, size: int = 32, count: int = 4) -> tf.data.Dataset:
    """Return full batches in a fixed order."""
    case = CASES[name]
    data = (case.first(size * count),)
    if case.labelled:
        data = (*data, case.y()[: size * count])
    return tf.data.Dataset.from_tensor_slices(data).batch(size, drop_remainder=True)


def build(trainer: keras.Model, x: Any, y: np.ndarray | None = None) -> None:
    """Create all variables of a trainer and of its optimizers, without tracing a step."""

    def spec(one):
        return keras.KerasTensor((32, *one.shape[1:]), str(one.dtype))

    trainer.build_step(keras.tree.map_structure(spec, x), None if y is None else spec(y))


def state_of(trainer: keras.Model) -> list[np.ndarray]:
    """Return the values of all variables of a trainer and of its optimizers."""
    return [np.array(variable) for variable in _variables_of(trainer)]


def set_state(trainer: keras.Model, values: list[np.ndarray]) -> None:
    """Set the variables to values that `state_of` returned, maybe of another trainer."""
    for variable, value in zip(_variables_of(trainer), values, strict=True):
        variable.assign(value)


def _variables_of(trainer: keras.Model) -> list[keras.Variable]:
    groups = trainer.training_variables()
    return [variable for name in sorted(groups) for variable in groups[name] if name != "metrics"]


def learn(name: str, seed: int, trainer: keras.Model | None = None) -> tuple[keras.Model, dict]:
    """Train as the case's learning test does; return the trainer and its history.

    Args:
        name: The case.
        seed: Seed of weights, of the order of the data, and of draws without a seed of their own.
        trainer: A trainer that an earlier call returned. It is reset, and not traced again.
    """
    case = CASES[name]
    x, y = case.first(case.examples), case.y()
    y = None if y is None else y[: case.examples]
    fresh = make(name, case.optimizer(), seed=seed)
    if trainer is None:
        trainer = fresh
    else:
        build(fresh, x, y)
        set_state(trainer, state_of(fresh))
    keras.utils.set_random_seed(seed)
    options = {"batch_size": 32, "epochs": case.epochs, "verbose": 0}
    return trainer, trainer.fit(x, y, **options).history
