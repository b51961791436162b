"""Ancestral sampling of DDPM."""

import keras
import numpy as np

from keras_ssl.samplers.noise_path import Grid, NoisePath
from keras_ssl.samplers.sampler import Plan, Sampler, places

VARIANCES = ("small", "large")


def transition_variances(grid: Grid) -> np.ndarray:
    """Return the variance of x_t given x_s, where s is the next time of a grid, `(steps,)`."""
    _, a, s, next_a, next_s = places(grid)
    return s**2 - (a / next_a * next_s) ** 2


@keras.saving.register_keras_serializable(package="keras_ssl")
class DDPM(Sampler):
    r"""Ancestral sampling: each step draws from the posterior of DDPM.

    From time t to the earlier time s, with α = √ᾱ, σ² = 1 - ᾱ and
    σ²_{t|s} = σ_t² - (α_t/α_s)² σ_s², x_s is drawn from

        N( α_s σ²_{t|s} / σ_t² x_0 + α_t σ_s² / (α_s σ_t²) x_t,  v I )

    with the denoiser's x_0. For neighboring times these are the equations of the paper.

    Args:
        variance: "small" for v = σ²_{t|s} σ_s² / σ_t², the variance of the posterior; "large" for
            v = σ²_{t|s}, the β of the step. The last step adds no noise.
        clip: whether predictions of the data are clipped to the range that the trainer states.
        spacing: "trailing", "leading" or "linspace", see `Sampler`.

    Raises:
        ValueError: if `variance` or `spacing` is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import samplers
    >>> schedule = samplers.NoiseSchedule("cosine")
    >>> def predict(x, time, signal, noise):  # data that is always 0
    ...     return 0.0 * x, x / noise
    >>> x = samplers.DDPM().sample(schedule, predict, np.ones((2, 3), "float32"), steps=10)
    >>> np.abs(np.round(x, 3))
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)

    Reference:
        - [Denoising Diffusion Probabilistic Models](https://arxiv.org/abs/2006.11239), Ho et al.,
          2020
    """

    def __init__(self, variance: str = "small", clip: bool = True, spacing: str = "trailing"):
        super().__init__(clip, spacing)
        if variance not in VARIANCES:
            raise ValueError(
                f"`variance` must be one of {VARIANCES}. Received: variance={variance!r}"
            )
        self.variance = variance

    def coefficients(self, path: NoisePath, grid: Grid) -> Plan:
        """Return the plan for the times of a grid.

        Args:
            path: the path.
            grid: the times.
        """
        _, a, s, next_a, next_s = places(grid)
        added = transition_variances(grid)
        variance = added if self.variance == "large" else added * (next_s / s) ** 2
        return Plan(
            *places(grid),
            from_x=a / next_a * (next_s / s) ** 2,
            from_data=next_a * added / s**2,
            from_random=np.where(next_s > 0, np.sqrt(variance), 0.0),
        )

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {**super().get_config(), "variance": self.variance}
