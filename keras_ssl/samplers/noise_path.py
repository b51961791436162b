"""What all paths from data to noise have in common."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

SPACINGS = ("trailing", "leading", "linspace")


class Grid(NamedTuple):
    """The times at which a sampler calls the denoiser, from noise to data, in float64.

    Attributes:
        time: the time of each step, `(steps,)`.
        signal: the factor of the data at each time, and 1 for the end, `(steps + 1,)`.
        noise: the factor of the noise at each time, and 0 for the end, `(steps + 1,)`.
    """

    time: np.ndarray
    signal: np.ndarray
    noise: np.ndarray

    def without_first(self, count: int) -> "Grid":
        """Return the grid that starts `count` steps later."""
        return Grid(self.time[count:], self.signal[count:], self.noise[count:])


class NoisePath:
    """Base of paths from data to noise: x_t = signal(t) x_0 + noise(t) ε, with ε normal.

    Times are numbers from 0, the data or nearly so, to `last_time`, where there is nothing left but
    noise. A denoiser gets them as `"time"`. `NoiseSchedule` and `StraightPath` are paths.

    Example:

    >>> from keras_ssl import samplers
    >>> isinstance(samplers.NoiseSchedule(), samplers.NoisePath)
    True
    """

    # whether the points of a path lie on a straight line in t
    is_straight = False
    last_time: float

    def draw_times(self, count: Any, seed: keras.random.SeedGenerator) -> Any:
        """Draw times to train at, float32 `(count,)`, all equally probable.

        Args:
            count: how many.
            seed: the generator.
        """
        raise NotImplementedError

    def levels(self, time: Any) -> tuple[Any, Any]:
        """Return the factors of data and noise, tensors of the shape of `time`.

        Args:
            time: tensor of times.
        """
        raise NotImplementedError

    def grid(self, steps: int, spacing: str = "trailing") -> Grid:
        """Return the times of a sampler.

        Args:
            steps: how many.
            spacing: how they are spread, see `Sampler`.
        """
        raise NotImplementedError

    def add_noise(self, x: Any, noise: Any, time: Any) -> Any:
        """Draw from q(x_t | x_0).

        Args:
            x: the data x_0, `(batch, ...)`.
            noise: ε, of the shape of `x`.
            time: the time of each example, `(batch,)`.

        Returns:
            signal(t) x + noise(t) ε.
        """
        signal, level = (like_examples(one, x) for one in self.levels(time))
        return signal * x + level * noise


def like_examples(values: Any, x: Any) -> Any:
    """Return one value per example with the rank and dtype of `x`, to be multiplied with it."""
    return ops.cast(ops.reshape(values, (-1, *[1] * (len(x.shape) - 1))), x.dtype)
