"""The compiled loops in which trained denoisers make data."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import distribute
from keras_ssl.samplers.sampler import StepSeed, integrate
from keras_ssl.trainers.engine.gradients import input_gradient
from keras_ssl.trainers.engine.replica_function import ReplicaFunction, replicas_of
from keras_ssl.trainers.generative import _conditions
from keras_ssl.trainers.generative._request import Request


class SamplingLoops:
    """Runs requests on the replicas of a trainer, tracing each kind of request once.

    Args:
        trainer: the trainer, whose `sampling_network` is called.
    """

    def __init__(self, trainer: keras.Model):
        self._trainer = trainer
        self._loops = {}

    def __len__(self) -> int:
        return len(self._loops)

    def clear(self) -> None:
        """Forget the traced loops."""
        self._loops.clear()

    def run(
        self, request: Request, batch_size: int, stops: list[int], verbose: int = 0
    ) -> Iterator[tuple[slice, int, np.ndarray]]:
        """Yield the rows, the number of the stop, and the data at each stop, batch by batch.

        Args:
            request: what to sample.
            batch_size: how many examples to sample together.
            stops: numbers of evaluations after which to return the data, the last of them all.
            verbose: 1 for a progress bar.
        """
        evaluations = len(request.plan)
        size = padded_size(self._trainer, request.count, batch_size)
        loop = self._loop_of(request, size)
        # for a progress bar the loop is left about twenty times
        shown = np.linspace(0, evaluations, 21).astype(int).tolist() if verbose else []
        ends = sorted({*stops, *shown[1:]})
        batches = range(0, request.count, size)
        bar = keras.utils.Progbar(len(batches) * evaluations, unit_name="step", verbose=verbose)
        plan_rows = request.plan.rows.astype("float32")
        for batch, start in enumerate(batches):
            rows = slice(start, min(start + size, request.count))
            inputs = {name: filled(one[rows], size) for name, one in request.inputs.items()}
            settings = _settings(request, batch)
            state, first = loop.begin(settings, inputs), 0
            for end in ends:
                if end > first:
                    span = np.array([first, end], "int32")
                    state, first = loop.advance(span, settings, plan_rows, state), end
                    if verbose:
                        bar.update(batch * evaluations + end)
                if end in stops:
                    data = loop.finish.rows(loop.finish(state))[: rows.stop - rows.start]
                    yield rows, stops.index(end), data

    def _loop_of(self, request: Request, size: int) -> "_Loop":
        inputs = {name: (one.shape[1:], one.dtype) for name, one in request.inputs.items()}
        key = (
            size,
            request.plan.terms,
            request.shape,
            tuple(sorted(inputs.items())),
            request.guidance != 1,
            request.clip,
            request.classifier.key if request.classifier else None,
        )
        if key not in self._loops:
            # the classifier is kept, so that no other gets its id
            self._loops[key] = (_Loop(self._trainer, request, size), request.classifier)
        return self._loops[key][0]


def padded_size(trainer: keras.Model, count: int, batch_size: int) -> int:
    """Return the number of examples that the replicas of a trainer share equally.

    Args:
        trainer: the trainer.
        count: how many examples to compute.
        batch_size: how many to compute together. Of fewer, the number is rounded up to a power of
            two, so that few sizes are traced.
    """
    replicas = replicas_of(trainer)
    size = min(batch_size, 1 << (count - 1).bit_length())
    return -(-size // replicas) * replicas


def filled(rows: np.ndarray, size: int) -> np.ndarray:
    """Return an array of `size` rows: of few, the last is repeated."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])


def _settings(request: Request, batch: int) -> dict[str, np.ndarray]:
    """Return the numbers of a request, which are arguments of its loop and not constants."""
    columns, evaluations = request.plan.columns, len(request.plan)
    at_start = {name: columns[name][0] if evaluations else 0.0 for name in ("signal", "noise")}
    scale = 0.0 if request.classifier is None else request.classifier.scale
    floats = {"guidance": request.guidance, "classifier": scale, **at_start}
    # each batch has seeds of its own
    whole = {"seed": request.seed, "offset": batch * (evaluations + 1)}
    return {name: np.float32(one) for name, one in floats.items()} | {
        name: np.int32(one) for name, one in whole.items()
    }


class _Loop:
    """The functions of one kind of request: from noise, on to data, and back to its range."""

    def __init__(self, trainer: keras.Model, request: Request, size: int):
        self._trainer = trainer
        self._count = size // replicas_of(trainer)  # on each replica
        # what the functions need of the request, not its arrays
        self._terms, self._shape, self._clip = request.plan.terms, request.shape, request.clip
        self._is_guided, self._classifier = request.guidance != 1, request.classifier
        self._memory = request.plan.memory
        jit_compile = trainer.compiled and trainer.jit_compile
        self.begin, self.advance, self.finish = (
            ReplicaFunction(one, trainer, jit_compile)
            for one in (self._begin, self._advance, self._finish)
        )

    def _draw(self, settings: dict[str, Any], number: Any) -> Any:
        seed = StepSeed(settings["seed"], settings["offset"] + number)
        return distribute.draw_per_example(
            lambda n: keras.random.normal((n, *self._shape), seed=seed, dtype="float32"),
            self._count,
        )

    def _begin(self, settings: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the state before the first evaluation: this replica's rows of all it needs."""
        trainer, count = self._trainer, self._count
        own = {name: distribute.local_rows(one, count) for name, one in inputs.items()}
        noise = self._draw(settings, 0)
        x, state = noise, {}
        if "start" in own:
            start = trainer.to_space(own["start"])
            x = settings["signal"] * start + settings["noise"] * noise
            if not self._terms:
                x = start
        if "known" in own:
            known = {"known": own["known"], "mask": ops.cast(own["mask"], "float32")}
            state["data"] = known
            z = trainer.to_space(known["known"])
            mask = trainer.mask_in_space(known["mask"], z)
            state["space"] = {"known": z, "mask": mask, "noise": noise}
        state["conditions"] = {name: own[name] for name in _conditions.NAMES if name in own}
        if "target" in own:
            state["target"] = own["target"]
        return {"x": x, "memory": self._memory(x), **state}

    def _advance(
        self, span: Any, settings: dict[str, Any], rows: Any, state: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the state after the evaluations from `span[0]` to `span[1] - 1`."""
        x = state["x"]

        def predict(x: Any, time: Any, a: Any, s: Any) -> tuple[Any, Any]:
            return self._predict(x, time, a, s, settings, state)

        def restore_known(x: Any, a: Any, s: Any) -> Any:
            known = state["space"]
            noisy = a * known["known"] + s * known["noise"]
            return known["mask"] * x + (1 - known["mask"]) * noisy

        x, memory = integrate(
            self._terms,
            rows,
            predict,
            x,
            state["memory"],
            span[0],
            span[1],
            lambda number: self._draw(settings, number + 1),
            restore_known if "space" in state else None,
        )
        return {**state, "x": x, "memory": memory}

    def _predict(
        self, x: Any, time: Any, a: Any, s: Any, settings: dict[str, Any], state: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Return the data and the noise in x, guided and clipped."""
        trainer, conditions = self._trainer, state["conditions"]

        def denoise(x: Any) -> tuple[Any, Any]:
            times = ops.broadcast_to(time, (x.shape[0],))
            if not self._is_guided:
                output = trainer.denoise(trainer.sampling_network, x, times, conditions)
            else:
                # one call for both: with the conditions, and without
                empty = _conditions.nothing(conditions, trainer.num_classes)
                both = [ops.concatenate(pair) for pair in ((x, x), (times, times))]
                of_both = {name: ops.concatenate([conditions[name], empty[name]]) for name in empty}
                output = trainer.denoise(trainer.sampling_network, *both, of_both)
                with_them, without = ops.split(output, 2)
                output = without + settings["guidance"] * (with_them - without)
            return trainer.data_and_noise(output, x, a, s)

        data, noise = denoise(x)
        if self._classifier is not None:
            gradient = input_gradient(
                lambda x: self._classifier.log_probability(
                    x, time, state["target"], lambda: trainer.unclipped(denoise(x)[0])
                ),
                x,
            )
            shift = settings["classifier"] * s * gradient
            noise = noise - shift
            data = data + ops.divide_no_nan(s, a) * shift
        return (ops.clip(data, -1.0, 1.0) if self._clip else data), noise

    def _finish(self, state: dict[str, Any]) -> Any:
        """Return the data in its own range; what was known stays exactly as it is."""
        x = self._trainer.from_space(state["x"])
        if "data" not in state:
            return x
        known, mask = state["data"]["known"], state["data"]["mask"]
        return ops.where(mask > 0.5, x, ops.cast(known, x.dtype))
