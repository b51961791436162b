"""Samplers as tables of coefficients, and the loop that all of them share."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl.samplers.noise_path import SPACINGS, Grid, NoisePath

# of each evaluation of the denoiser: where it is made, and the levels of what comes out
_PLACES = ("time", "signal", "noise", "next_signal", "next_noise")
# what x becomes: a sum of these, each with a factor of the evaluation
_TERMS = (
    "from_x",
    "from_data",
    "from_noise",
    "from_last_x",
    "from_last_data",
    "from_last_noise",
    "from_random",
)
_LAST = ("from_last_x", "from_last_data", "from_last_noise")


class Plan:
    """What a sampler does at each evaluation of the denoiser: numbers in float64.

    An evaluation at x gives the denoiser's x_0 and ε. With the values of the evaluation before
    (`last`) and standard normal numbers z, x becomes

        from_x x + from_data x_0 + from_noise ε
            + from_last_x x' + from_last_data x_0' + from_last_noise ε' + from_random z

    Args:
        time: the time that the denoiser gets, `(evaluations,)`.
        signal: the factor of the data in x, `(evaluations,)`.
        noise: the factor of the noise in x, `(evaluations,)`.
        next_signal: the factor of the data in what x becomes, `(evaluations,)`.
        next_noise: the factor of the noise in what x becomes, `(evaluations,)`.
        **factors: arrays of the factors above, `(evaluations,)`; those that are not given are 0.

    Raises:
        ValueError: if a factor is unknown.

    Example:

    >>> from keras_ssl import samplers
    >>> plan = samplers.DDIM().plan(samplers.NoiseSchedule(), steps=4)
    >>> plan.columns["time"].tolist(), plan.terms
    ([999.0, 749.0, 499.0, 249.0], ('from_data', 'from_noise'))
    """

    def __init__(
        self,
        time: np.ndarray,
        signal: np.ndarray,
        noise: np.ndarray,
        next_signal: np.ndarray,
        next_noise: np.ndarray,
        **factors: np.ndarray,
    ):
        given = dict(zip(_PLACES, (time, signal, noise, next_signal, next_noise), strict=True))
        if unknown := set(factors) - set(_TERMS):
            raise ValueError(f"Expected factors of {_TERMS}. Received: {sorted(unknown)}")
        self.columns = {name: np.asarray(one, "float64") for name, one in (given | factors).items()}
        # what has no factor is neither computed nor kept
        self.terms = tuple(
            name for name in _TERMS if name in factors and np.any(self.columns[name] != 0)
        )

    def __len__(self) -> int:
        return len(self.columns["time"])

    @property
    def rows(self) -> np.ndarray:
        """All numbers, `(evaluations, columns)`, for `integrate`."""
        return np.stack([self.columns[name] for name in (*_PLACES, *self.terms)], axis=-1)

    @property
    def is_random(self) -> bool:
        """Whether random numbers are added."""
        return "from_random" in self.terms

    def memory(self, x: Any) -> tuple[Any, ...]:
        """Return what is kept from one evaluation to the next, before the first one."""
        return tuple(ops.zeros_like(x) for name in self.terms if name in _LAST)


def integrate(
    terms: tuple[str, ...],
    rows: Any,
    predict: Callable[[Any, Any, Any, Any], tuple[Any, Any]],
    x: Any,
    memory: tuple[Any, ...],
    first: Any,
    last: Any,
    draw: Callable[[Any], Any] | None = None,
    finish_step: Callable[[Any, Any, Any], Any] | None = None,
) -> tuple[Any, tuple[Any, ...]]:
    """Run the evaluations `first` to `last - 1` of a plan in one loop, which can be compiled.

    Args:
        terms: those of the plan.
        rows: those of the plan, an array or tensor.
        predict: function of x, time, signal and noise, the last three scalars, that returns the
            x_0 and the ε that the denoiser predicts.
        x: where to start, `(batch, ...)`.
        memory: what `Plan.memory` or an earlier call returned.
        first: number of the first evaluation; an integer or a scalar tensor.
        last: number of the evaluation to stop before.
        draw: function of the number of the evaluation that returns normal numbers of the shape of
            x, for plans that add them.
        finish_step: function of x after an evaluation and its factors of data and noise, that
            returns the x to go on with.

    Returns:
        x, and the memory for a call that goes on from there.
    """
    rows = ops.convert_to_tensor(rows, x.dtype)
    kept = [name for name in terms if name in _LAST]

    def evaluate(number: Any, x: Any, *memory: Any) -> tuple:
        row = dict(
            zip(
                (*_PLACES, *terms),
                ops.unstack(rows[number], len(_PLACES) + len(terms)),
                strict=True,
            )
        )
        data, noise = predict(x, row["time"], row["signal"], row["noise"])
        now = {"from_x": x, "from_data": data, "from_noise": noise}
        values = now | dict(zip(kept, memory, strict=True))
        if "from_random" in terms:
            values["from_random"] = draw(number)
        after = sum(row[name] * values[name] for name in terms)
        if finish_step is not None:
            after = finish_step(after, row["next_signal"], row["next_noise"])
        return number + 1, after, *(now[name.replace("last_", "")] for name in kept)

    first = ops.cast(first, "int32")
    _, x, *memory = ops.while_loop(
        lambda number, *_: ops.less(number, last), evaluate, (first, x, *memory)
    )
    return x, tuple(memory)


class StepSeed(keras.random.SeedGenerator):
    """Seed of one evaluation: a value and no variable, which a loop could not change everywhere.

    Args:
        seed: integer or int32 scalar.
        number: another, such as the number of the evaluation.
    """

    def __init__(self, seed: Any, number: Any):
        dtype = "uint32" if keras.backend.backend() == "jax" else "int32"
        self._value = ops.stack([ops.cast(seed, dtype), ops.cast(number, dtype)])

    def next(self, ordered: bool = True) -> Any:
        """Return the seed, the same at each call."""
        return self._value


class Sampler:
    """Base of samplers, which lead from noise to data along a path by calls of a denoiser.

    A sampler turns a path and a number of steps into a `Plan`, a table of coefficients in float64;
    one loop runs all plans. A subclass implements `coefficients(path, grid)`.

    Args:
        clip: whether predictions of the data are clipped to the range that the trainer states.
        spacing: how the steps are spread over the times of a schedule: "trailing", evenly and
            beginning with the last time, which sampling from pure noise needs; "leading", evenly
            and ending with time 0; or "linspace", from the last time to time 0, both included.

    Raises:
        ValueError: if `spacing` is unknown.

    Example:

    A sampler of your own, which returns the first prediction of the data:

    >>> import keras, numpy as np
    >>> from keras_ssl import samplers
    >>> @keras.saving.register_keras_serializable("my_project")
    ... class OneStep(samplers.Sampler):
    ...     def coefficients(self, path, grid):
    ...         signal, noise = grid.signal, grid.noise
    ...         return samplers.Plan(
    ...             grid.time[:1], signal[:1], noise[:1], signal[-1:], noise[-1:], from_data=[1.0]
    ...         )
    >>> len(OneStep().plan(samplers.NoiseSchedule(), steps=50))
    1
    """

    def __init__(self, clip: bool = True, spacing: str = "trailing"):
        if spacing not in SPACINGS:
            raise ValueError(f"`spacing` must be one of {SPACINGS}. Received: spacing={spacing!r}")
        self.clip, self.spacing = bool(clip), spacing

    def plan(self, path: NoisePath, steps: int, skip: int = 0) -> Plan:
        """Return what to do at each evaluation of the denoiser.

        Args:
            path: `NoiseSchedule` or `StraightPath`.
            steps: number of steps from noise to data.
            skip: how many steps to leave out at the start, where x is not pure noise.
        """
        return self.coefficients(path, path.grid(steps, self.spacing).without_first(skip))

    def coefficients(self, path: NoisePath, grid: Grid) -> Plan:
        """Return the plan for the times of a grid.

        Args:
            path: the path.
            grid: the times.
        """
        raise NotImplementedError

    def sample(
        self,
        path: NoisePath,
        predict: Callable[[Any, Any, Any, Any], tuple[Any, Any]],
        x: Any,
        steps: int,
        seed: int = 0,
    ) -> Any:
        """Lead x from noise to data; for use without a trainer, on any backend.

        Args:
            path: `NoiseSchedule` or `StraightPath`.
            predict: function of x, time, signal and noise, the last three scalars, that returns the
                x_0 and the ε that a denoiser predicts. `samplers.data_and_noise` computes them from
                its output.
            x: normal numbers, `(batch, ...)`.
            steps: number of steps.
            seed: seed of the numbers that the sampler draws.

        Returns:
            Tensor of the shape of `x`.
        """
        x = ops.convert_to_tensor(x)
        plan = self.plan(path, steps)

        def draw(number: Any) -> Any:
            return keras.random.normal(ops.shape(x), dtype=x.dtype, seed=StepSeed(seed, number))

        arguments = (plan.terms, plan.rows, predict, x, plan.memory(x), 0, len(plan), draw)
        return integrate(*arguments)[0]

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {"clip": self.clip, "spacing": self.spacing}

    @classmethod
    def from_config(cls, config: dict) -> Any:
        """Make the sampler that `config` describes."""
        return cls(**config)


def places(grid: Grid) -> tuple[np.ndarray, ...]:
    """Return the places of a plan that evaluates the denoiser once at each time of a grid."""
    return grid.time, grid.signal[:-1], grid.noise[:-1], grid.signal[1:], grid.noise[1:]
