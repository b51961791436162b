"""The variational bound of a diffusion model, summed over all times in compiled loops."""

import itertools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import distribute
from keras_ssl.samplers import NoiseSchedule
from keras_ssl.samplers.ddpm import VARIANCES
from keras_ssl.samplers.sampler import StepSeed
from keras_ssl.trainers.engine.replica_function import ReplicaFunction
from keras_ssl.trainers.generative._request import Request
from keras_ssl.trainers.generative._sampling import filled, padded_size


def bound_rows(schedule: NoiseSchedule, variance: str) -> np.ndarray:
    """Return, for each time, signal, noise, and what the divergence is made of.

    That of time t is `weight * |x_0 - predicted x_0|² + constant` per dimension. At time 0, where
    the data is decoded, the third number is the decoder's standard deviation instead.

    Args:
        schedule: the schedule.
        variance: "small" or "large", as in `samplers.DDPM`.
    """
    if variance not in VARIANCES:
        raise ValueError(f"`variance` must be one of {VARIANCES}. Received: variance={variance!r}")
    of_data, _, posterior = schedule.posterior()
    # at time 0 the posterior has no variance; the decoder gets that of the next time
    assumed = np.append(posterior[1], posterior[1:]) if variance == "small" else schedule.betas
    ratio = np.divide(posterior, assumed)
    ratio[0] = 1.0
    constant = (ratio - 1 - np.log(ratio)) / 2
    weight = of_data**2 / (2 * assumed)
    weight[0] = np.sqrt(assumed[0])
    return np.stack([schedule.signal, schedule.noise, weight, constant], axis=-1)


class Bounds:
    """Computes the bound with a trainer's averaged denoiser on the replicas of the trainer.

    Args:
        trainer: the trainer.
    """

    def __init__(self, trainer: keras.Model):
        self._trainer, self._functions = trainer, {}

    def clear(self) -> None:
        """Forget the traced functions."""
        self._functions.clear()

    def scores(
        self, request: Request, rows: np.ndarray, levels: int | None, batch_size: int, verbose: int
    ) -> np.ndarray:
        """Return the bound of each example, in bits per dimension, float32 `(n,)`.

        Args:
            request: the data, as `"start"`, and the conditions.
            rows: what `bound_rows` returned.
            levels: number of values of the data from -1 to 1, or `None`.
            batch_size: how many examples to compute together.
            verbose: 1 for a progress bar.
        """
        shapes = {name: (one.shape[1:], one.dtype) for name, one in request.inputs.items()}
        size = padded_size(self._trainer, request.count, batch_size)
        key = (size, tuple(sorted(shapes.items())), levels, request.clip)
        if key not in self._functions:
            self._functions[key] = _Bound(self._trainer, levels, request.clip, request.shape)
        bound, times = self._functions[key], len(rows)
        batches = range(0, request.count, size)
        bar = keras.utils.Progbar(len(batches) * times, unit_name="time", verbose=verbose)
        # time 0 is not in the loop
        ends = np.linspace(1, times, 21 if verbose else 2).astype(int)
        rows, found = rows.astype("float32"), np.empty(request.count, "float32")
        for number, start in enumerate(batches):
            own = slice(start, min(start + size, request.count))
            inputs = {name: filled(one[own], size) for name, one in request.inputs.items()}
            seed = np.array([request.seed, number * times], "int32")
            state = bound.begin(seed, rows, inputs)
            for first, last in itertools.pairwise(ends):
                state = bound.add(np.array([first, last], "int32"), seed, rows, state)
                if verbose:
                    bar.update(number * times + last)
            found[own] = bound.begin.rows(state["score"])[: own.stop - own.start]
        return found / np.float32(np.log(2))


class _Bound:
    def __init__(
        self, trainer: keras.Model, levels: int | None, clip: bool, shape: tuple[int, ...]
    ):
        self._trainer, self._levels, self._clip, self._shape = trainer, levels, clip, shape
        jit_compile = trainer.compiled and trainer.jit_compile
        self.begin, self.add = (
            ReplicaFunction(one, trainer, jit_compile) for one in (self._begin, self._add)
        )

    def _predict(self, x: Any, time: Any, row: Any, seed: Any, conditions: dict) -> Any:
        """Return the data that the denoiser predicts from x at a time."""
        trainer, count = self._trainer, x.shape[0]
        generator = StepSeed(seed[0], seed[1] + time)
        noise = distribute.draw_per_example(
            lambda n: keras.random.normal((n, *self._shape), seed=generator, dtype="float32"), count
        )
        noisy = row[0] * x + row[1] * noise
        times = ops.broadcast_to(ops.cast(time, "float32"), (count,))
        output = trainer.denoise(trainer.sampling_network, noisy, times, conditions)
        data, _ = trainer.data_and_noise(output, noisy, row[0], row[1])
        return ops.clip(data, -1.0, 1.0) if self._clip else data

    def _begin(self, seed: Any, rows: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the first and the last term of the bound, of data and of pure noise."""
        trainer = self._trainer
        count = inputs["start"].shape[0] // distribute.replica_count()
        own = {name: distribute.local_rows(one, count) for name, one in inputs.items()}
        x, conditions = trainer.to_space(own.pop("start")), own
        decoded = self._predict(x, 0, rows[0], seed, conditions)
        likelihood = _mean(_log_density(x, decoded, rows[0][2], self._levels))
        a, s = rows[-1][0], rows[-1][1]
        prior = _mean(ops.square(s) + ops.square(a * x) - 1 - 2 * ops.log(s)) / 2
        return {"x": x, "conditions": conditions, "score": likelihood - prior}

    def _add(self, span: Any, seed: Any, rows: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state with the terms of the times from `span[0]` to `span[1] - 1`."""
        x = state["x"]

        def term(time: Any, score: Any) -> tuple[Any, Any]:
            row = rows[time]
            data = self._predict(x, time, row, seed, state["conditions"])
            return time + 1, score - row[2] * _mean(ops.square(x - data)) - row[3]

        _, score = ops.while_loop(
            lambda time, _: ops.less(time, span[1]), term, (span[0], state["score"])
        )
        return {**state, "score": score}


def _mean(x: Any) -> Any:
    """The mean over the dimensions of each example."""
    return ops.mean(ops.reshape(x, (x.shape[0], -1)), axis=-1)


def _log_density(x: Any, mean: Any, deviation: Any, levels: int | None) -> Any:
    """Return the log-density of a normal distribution, or the log-probability of its values.

    Of discrete values from -1 to 1 each stands for the interval half-way to its neighbors; the
    first and the last one for all that is beyond too.
    """
    if levels is None:
        z = (x - mean) / deviation
        return -0.5 * ops.square(z) - ops.log(deviation) - 0.5 * np.log(2 * np.pi)
    half = 1 / (levels - 1)

    def below(bound: Any) -> Any:
        return 0.5 * (1 + ops.erf((bound - mean) / (deviation * np.sqrt(2))))

    upper = ops.where(x > 1 - half, 1.0, below(x + half))
    lower = ops.where(x < -1 + half, 0.0, below(x - half))
    return ops.log(ops.maximum(upper - lower, 1e-12))
