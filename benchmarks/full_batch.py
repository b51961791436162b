"""How far `optimizers.fit_hessian_free` and `fit_lbfgs` bring a loss, per pass over the data.

A deep autoencoder of scikit-learn's digits, 64-48-24-6-24-48-64 with hyperbolic tangents, is
trained on all 1,797 images, beside Adam on batches and gradient descent with momentum on all
images. Each is shown at the best of three values of its rate, damping or memory. A pass is one
evaluation of the loss on all images, with or without its gradient, or one product of the
Gauss-Newton matrix with a vector. Seconds are those of the processor on all cores, from the first
record to the last, so without tracing.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from measure import print_machine
from sklearn.datasets import load_digits

from keras_ssl import optimizers
from keras_ssl.optimizers._full_batch import FullBatchLoss

WIDTHS = (48, 24, 6, 24, 48)
DAMPINGS, MEMORIES = (1.0, 1e-1, 1e-2), (10, 30, 100)
ADAM_RATES, DESCENT_RATES = (3e-3, 1e-2, 3e-2), (0.3, 1.0, 2.0)
Records = list[tuple[int, float, float]]  # passes, seconds of the processor, loss


def make_model(seed: int) -> keras.Model:
    """Returns the autoencoder, with the same weights for a seed."""
    keras.utils.set_random_seed(seed)
    hidden = [
        keras.layers.Dense(width, None if width == min(WIDTHS) else "tanh") for width in WIDTHS
    ]
    return keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(64)])


class Recorder(keras.callbacks.Callback):
    """Notes the loss on all images after each epoch, and ends the training after some passes.

    Args:
        passes: returns the number of passes so far.
        most: number of passes at which training ends.
        loss: returns the loss on all images, in the place of that of the logs.
    """

    def __init__(
        self, passes: Callable[[], int], most: int, loss: Callable[[], float] | None = None
    ):
        super().__init__()
        self.passes, self.most, self.loss = passes, most, loss
        self.records: Records = []
        self._not_counted = 0.0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Notes passes, seconds and loss; computing that loss counts for neither."""
        start, passes = time.process_time(), self.passes()
        loss = logs["loss"] if self.loss is None else self.loss()
        self.records.append((passes, start - self._not_counted, loss))
        self._not_counted += 0.0 if self.loss is None else time.process_time() - start
        self.model.stop_training = passes >= self.most


def run_on_all(fit: Callable, x: np.ndarray, seed: int, passes: int, **options: float) -> Records:
    """Returns what one of our functions reaches; the passes of its objective are counted."""
    count = 0

    def counting(method: Callable) -> Callable:
        def counted(*arguments: object) -> object:
            nonlocal count
            count += 1
            return method(*arguments)

        return counted

    names = ("value", "value_and_gradient", "gauss_newton")
    methods = {name: counting(getattr(FullBatchLoss, name)) for name in names}
    module = sys.modules[fit.__module__]
    module.FullBatchLoss = type("CountedLoss", (FullBatchLoss,), methods)
    model = make_model(seed)
    model.compile(loss="mse")
    recorder = Recorder(lambda: count, passes)
    fit(model, x, x, iterations=passes, callbacks=[recorder], **options)
    module.FullBatchLoss = FullBatchLoss
    return recorder.records


def run_by_steps(
    optimizer: keras.optimizers.Optimizer, x: np.ndarray, seed: int, passes: int, batch: int
) -> Records:
    """Returns what an optimizer of steps reaches; an epoch is a pass."""
    model = make_model(seed)
    model.compile(optimizer, "mse", jit_compile=False)
    epochs = 0

    def loss() -> float:
        return float(np.mean((model.predict_on_batch(x) - x) ** 2))

    def one_more() -> int:
        nonlocal epochs
        epochs += 1
        return epochs

    recorder = Recorder(one_more, passes, loss)
    model.fit(x, x, batch, epochs=passes, verbose=0, callbacks=[recorder])
    return recorder.records


def loss_after(records: Records, passes: int) -> float:
    """Returns the last loss that was noted within a number of passes, or NaN if there is none."""
    return [np.nan, *(loss for count, _, loss in records if count <= passes)][-1]


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--passes", type=int, nargs="+", default=[50, 150, 500])
    parser.add_argument("--methods", nargs="+", help="rows of the table; all by default")
    parser.add_argument("--batch", type=int, default=128, help="images per step of Adam")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the curves to")
    arguments = parser.parse_args()
    print_machine()
    x = (load_digits().data / 16).astype("float32")
    most, seed = max(arguments.passes), arguments.seed

    def on_all(fit: Callable, **options: float) -> Records:
        return run_on_all(fit, x, seed, most, **options)

    def by_steps(optimizer: keras.optimizers.Optimizer, batch: int) -> Records:
        return run_by_steps(optimizer, x, seed, most, batch)

    methods = {
        "fit_hessian_free": (
            lambda value: on_all(optimizers.fit_hessian_free, damping=value),
            DAMPINGS,
        ),
        "fit_lbfgs": (lambda value: on_all(optimizers.fit_lbfgs, memory=value), MEMORIES),
        "Adam": (
            lambda rate: by_steps(keras.optimizers.Adam(rate), arguments.batch),
            ADAM_RATES,
        ),
        "gradient descent": (
            lambda rate: by_steps(keras.optimizers.SGD(rate, 0.9), len(x)),
            DESCENT_RATES,
        ),
    }
    curves = {}
    for name in arguments.methods or methods:
        run, values = methods[name]
        tried = {value: run(value) for value in values}
        reached = {value: records[-1][2] for value, records in tried.items()}
        print(f"{name}: losses {reached}")
        best = min(reached, key=lambda value: np.nan_to_num(reached[value], nan=np.inf))
        curves[f"{name}, {best:g}"] = tried[best]

    header = [f"{count:>10,}" for count in arguments.passes]
    print(f"\n{'mean squared error after passes':32}", *header, f"{'ms a pass':>11}")
    for name, records in curves.items():
        losses = [f"{loss_after(records, n):10.5f}" for n in arguments.passes]
        (first, start, _), (last, end, _) = records[0], records[-1]
        print(f"{name:32}", *losses, f"{1000 * (end - start) / (last - first):11.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(curves))


if __name__ == "__main__":
    main()
