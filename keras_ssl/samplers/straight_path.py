"""The straight path from data to noise of flow matching."""

from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.samplers.noise_path import SPACINGS, Grid, NoisePath

_SCALE = 1000.0  # so that a denoiser sees the same range of times as in diffusion


@keras.saving.register_keras_serializable(package="keras_ssl")
class StraightPath(NoisePath):
    """Straight path from data to noise, of rectified flow and of flow matching.

        x_t = (1 - t) x_0 + t ε,    t in [0, 1]

    with the direction of time of diffusion: noise is at t = 1. The velocity dx/dt = ε - x_0 is
    constant along a path. Times are counted as 1000 t, so a network takes them as it takes the
    times of diffusion.

    A sampler of n steps takes the times 1, 1 - 1/n, ..., 1/n, whatever its `spacing`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import samplers
    >>> path = samplers.StraightPath()
    >>> x, noise = np.zeros((2, 3), "float32"), np.ones((2, 3), "float32")
    >>> np.round(path.add_noise(x, noise, np.array([0.0, 250.0])), 2)
    array([[0.  , 0.  , 0.  ],
           [0.25, 0.25, 0.25]], dtype=float32)

    Reference:
        - [Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow](
          https://arxiv.org/abs/2209.03003), Liu et al., 2022
        - [Flow Matching for Generative Modeling](https://arxiv.org/abs/2210.02747), Lipman et al.,
          2022
    """

    is_straight = True
    last_time = _SCALE

    def draw_times(self, count: Any, seed: keras.random.SeedGenerator) -> Any:
        """Draw times to train at, float32 `(count,)`, uniform in [0, 1000).

        Args:
            count: how many.
            seed: the generator.
        """
        return _SCALE * keras.random.uniform((count,), seed=seed, dtype="float32")

    def levels(self, time: Any) -> tuple[Any, Any]:
        """Return 1 - t and t, tensors of the shape of `time`.

        Args:
            time: tensor of 1000 t.
        """
        t = keras.ops.cast(time, keras.config.floatx()) / _SCALE
        return 1 - t, t

    def grid(self, steps: int, spacing: str = "trailing") -> Grid:
        """Return the times of a sampler.

        Args:
            steps: how many.
            spacing: has no effect.
        """
        steps = checks.integer("steps", steps, minimum=1)
        if spacing not in SPACINGS:
            raise ValueError(f"`spacing` must be one of {SPACINGS}. Received: spacing={spacing!r}")
        t = np.linspace(1, 0, steps + 1)
        return Grid(_SCALE * t[:-1], 1 - t, t)

    def get_config(self) -> dict:
        """Return the constructor's arguments, of which there are none."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "StraightPath":
        """Make the path."""
        return cls(**config)
