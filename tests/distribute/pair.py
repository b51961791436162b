"""What two worker processes do for the tests, in one run: `python pair.py <folder>` in each.

Each check returns named arrays; they land in `<folder>/<worker>/<check>.npz`. A check that raises
leaves its traceback in `<check>.txt`, and the run goes on if the other worker raised as well.
"""

import sys
import traceback
from pathlib import Path

import keras
import numpy as np

from keras_ssl import distribute
from keras_ssl.distribute.workers import is_chief
from tests.trainers import cases
from tests.trainers.test_contract import batches, make

CHECKS = {}


def check(function):
    """Add a function of the strategy to the run."""
    CHECKS[function.__name__] = function
    return function


def flat_logs(history):
    return {f"log {name}": np.asarray(values) for name, values in history.history.items()}


def weights_of(model):
    return {f"weight {i}": np.asarray(weight) for i, weight in enumerate(model.weights)}


def exactness_of(name):
    def run(strategy):
        with strategy.scope():
            trainer = make(name)
        history = trainer.fit(batches(name), verbose=0)
        return weights_of(trainer) | flat_logs(history)

    return run


CHECKS |= {f"exactness {name}": exactness_of(name) for name in cases.CASES}


def main():
    folder = Path(sys.argv[1])
    strategy = distribute.strategy("multi_worker", timeout=60)
    mine = folder / ("chief" if is_chief(strategy) else "other")
    mine.mkdir(parents=True)
    for name, run in CHECKS.items():
        keras.utils.set_random_seed(0)
        try:
            np.savez(mine / f"{name}.npz", **run(strategy))
        except Exception:
            (mine / f"{name}.txt").write_text(traceback.format_exc())
    (mine / "done").touch()


if __name__ == "__main__":
    main()
