"""Three steps of the cases of the contract, on the backend that Keras runs on.

    python -m tests.trainers.engine.jax.three_steps FOLDER NAME [NAME ...]

The weights before the first step are read from FOLDER, or written there if there are none, and
those after the last step are written there with the logs. What steps draw at random is the same on
all backends: constants that depend on the shape and on how many were drawn before in a step.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tests.trainers.cases import CASES
from tests.trainers.runs import build, make

_drawn = 0


def _generator():
    global _drawn
    _drawn += 1
    return np.random.default_rng(_drawn)


def _uniform(shape, minval=0.0, maxval=1.0, dtype="float32", seed=None):
    values = _generator().uniform(size=tuple(map(int, shape)))
    return minval + (maxval - minval) * ops.cast(ops.convert_to_tensor(values), dtype)


def _normal(shape, mean=0.0, stddev=1.0, dtype="float32", seed=None):
    values = _generator().normal(size=tuple(map(int, shape)))
    return mean + stddev * ops.cast(ops.convert_to_tensor(values), dtype)


def _randint(shape, minval, maxval, dtype="int32", seed=None):
    values = _generator().uniform(size=tuple(map(int, shape)))
    span = ops.cast(maxval, "float32") - ops.cast(minval, "float32")
    floats = ops.floor(ops.cast(ops.convert_to_tensor(values), "float32") * span)
    return ops.cast(floats, dtype) + ops.cast(minval, dtype)


def _dropout(inputs, rate, noise_shape=None, seed=None):
    kept = _generator().uniform(size=noise_shape or inputs.shape) >= rate
    return inputs * ops.cast(ops.convert_to_tensor(kept), inputs.dtype) / (1 - rate)


def key_of(name):
    """Return what the files of a case begin with."""
    return name.replace(" ", "_").replace("/", "_")


def _variables_of(trainer):
    """Return all variables but seeds and sums of metrics, by group and order."""
    return {
        f"{group}/{number}/{variable.path}": variable
        for group, variables in sorted(trainer.training_variables().items())
        for number, variable in enumerate(variables)
        if group != "metrics" and variable.name != "seed_generator_state"
    }


def _values_of(trainer):
    found = _variables_of(trainer).items()
    return {path: ops.convert_to_numpy(one.value) for path, one in found}


def _counting_anew(step):
    """Return the step, which draws the same numbers whenever it is traced."""

    def counted(data):
        global _drawn
        _drawn = 0
        return step(data)

    return counted


def run(name, folder):
    """Take three steps with the case of a name; see the text above."""
    case, key = CASES[name], key_of(name)
    x, y = case.first(96), case.y()
    y = None if y is None else y[:96]
    trainer = make(name)
    build(trainer, x, y)
    start = folder / f"{key}.start.npz"
    if start.exists():
        with np.load(start) as found:
            variables = _variables_of(trainer).values()
            for variable, value in zip(variables, found.values(), strict=True):
                variable.assign(value)
    else:
        np.savez(start, **_values_of(trainer))
    trainer.set_weights(trainer.get_weights())  # teachers are not copied again
    trainer.train_step = _counting_anew(trainer.train_step)
    draws = {"uniform": _uniform, "normal": _normal, "randint": _randint, "dropout": _dropout}
    before = {draw: getattr(keras.random, draw) for draw in draws}
    vars(keras.random).update(draws)
    try:
        history = trainer.fit(x, y, batch_size=32, shuffle=False, verbose=0).history
    finally:
        vars(keras.random).update(before)
    logs = {f"log {each}": np.array(values) for each, values in history.items()}
    np.savez(folder / f"{key}.{keras.backend.backend()}.npz", **_values_of(trainer), **logs)


if __name__ == "__main__":
    for each in sys.argv[2:]:
        run(each, Path(sys.argv[1]))
