"""Schedules that Keras lacks: cyclic, one-cycle, linear, and inverse square root."""

import math
from itertools import pairwise
from typing import Any

import keras
from keras import ops

from keras_ssl import checks

_MODES = ("triangular", "triangular2", "exponential")


@keras.saving.register_keras_serializable(package="keras_ssl")
class CyclicSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Cyclic schedule: up from a low to a high value in a line and down again, over and over.

    With k the step, u steps up, d steps down, c = floor(k / (u + d)) the full cycles so far and
    h(k) the height in the cycle, which goes from 0 to 1 in u steps and back in d:

        value = low + (high - low) h(k)       of "triangular"
                low + (high - low) h(k) / 2^c of "triangular2"
                low + (high - low) h(k) γ^k   of "exponential"

    It equals `torch.optim.lr_scheduler.CyclicLR`. With `high` below `low` it first falls, as a
    momentum does beside a learning rate.

    Args:
        low: value at the ends of a cycle, float of at least 0.
        high: value at the peak of the first cycle, float of at least 0.
        steps_up: u, integer of at least 1: 2 to 10 epochs in the paper.
        steps_down: d, integer of at least 1; `None` means u.
        mode: "triangular", "triangular2" or "exponential".
        gamma: γ of "exponential", above 0 and at most 1.

    Call arguments:
        step: step, an integer or a scalar tensor, counted from 0.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if an argument has the wrong type.

    Example:

    >>> from keras_ssl import optimizers
    >>> schedule = optimizers.CyclicSchedule(0.1, 0.5, steps_up=2, mode="triangular2")
    >>> [round(float(schedule(step)), 2) for step in range(8)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.2, 0.3, 0.2]

    Reference:
        - [Smith, Cyclical Learning Rates for Training Neural
          Networks](https://arxiv.org/abs/1506.01186)
    """

    def __init__(
        self,
        low: float,
        high: float,
        steps_up: int = 2000,
        steps_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
    ):
        self.low = checks.number("low", low, minimum=0)
        self.high = checks.number("high", high, minimum=0)
        self.steps_up = checks.integer("steps_up", steps_up, minimum=1)
        self.steps_down = checks.integer("steps_down", steps_down, minimum=1, optional=True)
        if mode not in _MODES:
            raise ValueError(f"`mode` must be one of {_MODES}. Received: mode={mode!r}")
        self.mode = mode
        self.gamma = checks.positive("gamma", gamma, maximum=1)

    def __call__(self, step: Any) -> Any:
        """Return the value at a step."""
        up, down = self.steps_up, self.steps_down or self.steps_up
        step = ops.convert_to_tensor(step)
        # integers, since a float32 tells no steps apart beyond 2^24
        within = ops.cast(step % (up + down), "float32")
        height = ops.where(within <= up, within / up, (up + down - within) / down)
        if self.mode == "triangular2":
            height = height * ops.power(0.5, ops.cast(step // (up + down), "float32"))
        elif self.mode == "exponential":
            height = height * ops.exp(math.log(self.gamma) * ops.cast(step, "float32"))
        return self.low + (self.high - self.low) * height

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "low": self.low,
            "high": self.high,
            "steps_up": self.steps_up,
            "steps_down": self.steps_down,
            "mode": self.mode,
            "gamma": self.gamma,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class OneCycleSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """One-cycle schedule: a warm-up to a high value, then a fall far below where it started.

    Of K steps, the first p K go from `peak / initial_divisor` to the peak, the others from there to
    `peak / initial_divisor / final_divisor`, each as half a cosine or in a line; with
    `three_phases=True` the fall takes p K steps back to the start and the remaining ones to the
    end. It equals `torch.optim.lr_scheduler.OneCycleLR`: the peak is at step p K - 1, the last step
    K - 1, and a turn back at 2 p K - 2. Later steps keep the last value.

    The paper lets the momentum fall while the learning rate rises: pass
    `CyclicSchedule(0.95, 0.85, steps_up, steps_down)` as the momentum of `HeavyBall`.

    Args:
        peak: highest value, float above 0.
        total_steps: K, integer of at least 2.
        warmup_fraction: p, float in (0, 1).
        initial_divisor: float of at least 1.
        final_divisor: float of at least 1.
        linear: whether to go in lines instead of half cosines.
        three_phases: whether the fall stops where the rise began before it goes to the end.

    Call arguments:
        step: step, an integer or a scalar tensor, counted from 0.

    Raises:
        ValueError: if an argument is out of range, or a phase has no step.
        TypeError: if an argument has the wrong type.

    Example:

    >>> from keras_ssl import optimizers
    >>> schedule = optimizers.OneCycleSchedule(1.0, total_steps=10, initial_divisor=4.0)
    >>> [round(float(schedule(step)), 2) for step in (0, 1, 2, 9, 20)]
    [0.25, 0.62, 1.0, 0.0, 0.0]

    Reference:
        - [Smith & Topin, Super-Convergence: Very Fast Training of Neural Networks Using Large
          Learning Rates](https://arxiv.org/abs/1708.07120)
    """

    def __init__(
        self,
        peak: float,
        total_steps: int,
        warmup_fraction: float = 0.3,
        initial_divisor: float = 25.0,
        final_divisor: float = 1e4,
        linear: bool = False,
        three_phases: bool = False,
    ):
        self.peak = checks.positive("peak", peak)
        self.total_steps = checks.integer("total_steps", total_steps, minimum=2)
        self.warmup_fraction = checks.below_one("warmup_fraction", warmup_fraction, positive=True)
        self.initial_divisor = checks.number("initial_divisor", initial_divisor, minimum=1)
        self.final_divisor = checks.number("final_divisor", final_divisor, minimum=1)
        self.linear = linear
        self.three_phases = three_phases
        first, middle = self.peak / self.initial_divisor, self.warmup_fraction * self.total_steps
        last = first / self.final_divisor
        # pairs of the step at which a phase ends and the value there
        self._ends = [(0.0, first), (middle - 1, self.peak), (self.total_steps - 1, last)]
        if three_phases:
            self._ends.insert(2, (2 * middle - 2, first))
        steps = [step for step, _ in self._ends]
        if any(end <= start for start, end in pairwise(steps)):
            raise ValueError(
                "`total_steps` and `warmup_fraction` must give each phase a step: phases end at "
                f"{[round(step, 2) for step in steps[1:]]}. Received: total_steps={total_steps}, "
                f"warmup_fraction={warmup_fraction}"
            )

    def __call__(self, step: Any) -> Any:
        """Return the value at a step."""
        step = ops.cast(step, "float32")
        value = self._ends[-1][1]
        for (start, before), (end, after) in reversed(list(pairwise(self._ends))):
            part = ops.clip((step - start) / (end - start), 0.0, 1.0)
            rest = 1.0 - part if self.linear else (1.0 + ops.cos(math.pi * part)) / 2.0
            value = ops.where(step <= end, after + (before - after) * rest, value)
        return value

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_fraction": self.warmup_fraction,
            "initial_divisor": self.initial_divisor,
            "final_divisor": self.final_divisor,
            "linear": self.linear,
            "three_phases": self.three_phases,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then a linear decay, as BERT and most fine-tuning recipes use.

    With k the step, W steps of warm-up, D steps of decay, r the highest and e the last value:

        value = r k / W                      for k < W
                r - (r - e) (k - W) / D      for W ≤ k < W + D
                e                            afterwards

    Without a warm-up it is `keras.optimizers.schedules.PolynomialDecay`. As in
    `keras.optimizers.schedules.CosineDecay`, `decay_steps` do not count those of the warm-up.

    Args:
        peak: r, float above 0.
        decay_steps: D, integer of at least 1.
        warmup_steps: W, integer of at least 0.
        final: e, float of at least 0.

    Call arguments:
        step: step, an integer or a scalar tensor, counted from 0.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if an argument has the wrong type.

    Example:

    >>> from keras_ssl import optimizers
    >>> schedule = optimizers.LinearDecay(0.1, decay_steps=8, warmup_steps=2)
    >>> [round(float(schedule(step)), 3) for step in (0, 1, 2, 6, 10, 11)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.0]

    Reference:
        - [Devlin et al., BERT](https://arxiv.org/abs/1810.04805)
    """

    def __init__(self, peak: float, decay_steps: int, warmup_steps: int = 0, final: float = 0.0):
        self.peak = checks.positive("peak", peak)
        self.decay_steps = checks.integer("decay_steps", decay_steps, minimum=1)
        self.warmup_steps = checks.integer("warmup_steps", warmup_steps, minimum=0)
        self.final = checks.number("final", final, minimum=0)

    def __call__(self, step: Any) -> Any:
        """Return the value at a step."""
        step = ops.cast(step, "float32")
        decayed = ops.clip((step - self.warmup_steps) / self.decay_steps, 0.0, 1.0)
        value = self.final + (self.peak - self.final) * (1.0 - decayed)
        rising = self.peak * step / max(self.warmup_steps, 1)
        return ops.where(step < self.warmup_steps, rising, value)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "peak": self.peak,
            "decay_steps": self.decay_steps,
            "warmup_steps": self.warmup_steps,
            "final": self.final,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class InverseSquareRootDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then a decay by 1 / sqrt(step), as of the first transformers.

    With k the step, W steps of warm-up and r the highest value:

        value = r min(k / W, sqrt(W / k))

    The paper's schedule for width d has `r = 1 / sqrt(d W)`, and counts steps from 1.

    Args:
        peak: r, float above 0.
        warmup_steps: W, integer of at least 1.

    Call arguments:
        step: step, an integer or a scalar tensor, counted from 0.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if an argument has the wrong type.

    Example:

    >>> from keras_ssl import optimizers
    >>> schedule = optimizers.InverseSquareRootDecay(0.1, warmup_steps=4)
    >>> [round(float(schedule(step)), 3) for step in (0, 2, 4, 16)]
    [0.0, 0.05, 0.1, 0.05]

    Reference:
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762)
    """

    def __init__(self, peak: float, warmup_steps: int):
        self.peak = checks.positive("peak", peak)
        self.warmup_steps = checks.integer("warmup_steps", warmup_steps, minimum=1)

    def __call__(self, step: Any) -> Any:
        """Return the value at a step."""
        part = ops.cast(step, "float32") / self.warmup_steps
        return self.peak * ops.minimum(part, ops.rsqrt(ops.maximum(part, 1.0)))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
        }
