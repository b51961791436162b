"""DPM-Solver++ of second order."""

import keras
import numpy as np

from keras_ssl.samplers.noise_path import Grid, NoisePath
from keras_ssl.samplers.sampler import Plan, Sampler, places


@keras.saving.register_keras_serializable(package="keras_ssl")
class DPMSolverPlusPlus2M(Sampler):
    r"""DPM-Solver++(2M): of second order, with one evaluation of the denoiser per step.

    With λ = log(α/σ) and h = λ_s - λ_t, a step from t to s is

        x_s = σ_s/σ_t x_t - α_s (exp(-h) - 1) D,    D = (1 + 1/(2r)) x_0 - 1/(2r) x_0'

    where x_0' is the prediction of the step before and r the ratio of that step's h to this one's.
    The first and the last step are of first order, D = x_0.

    Args:
        clip: whether predictions of the data are clipped to the range that the trainer states.
        spacing: "trailing", "leading" or "linspace", see `Sampler`.

    Raises:
        ValueError: if `spacing` is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import samplers
    >>> schedule = samplers.NoiseSchedule("cosine")
    >>> def predict(x, time, signal, noise):  # data that is always 0
    ...     return 0.0 * x, x / noise
    >>> sampler = samplers.DPMSolverPlusPlus2M()
    >>> x = sampler.sample(schedule, predict, np.ones((2, 3), "float32"), steps=10)
    >>> np.abs(np.round(x, 3))
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)

    Reference:
        - [DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models](
          https://arxiv.org/abs/2211.01095), Lu et al., 2022
    """

    def coefficients(self, path: NoisePath, grid: Grid) -> Plan:
        """Return the plan for the times of a grid.

        Args:
            path: the path.
            grid: the times.
        """
        _, a, s, next_a, next_s = places(grid)
        with np.errstate(divide="ignore"):
            # infinite where there is no noise or no data
            h = np.diff(np.log(grid.signal) - np.log(grid.noise))
        weight = np.zeros(len(h))  # 1 / (2r)
        weight[1:-1] = h[1:-1] / (2 * h[:-2])
        factor = next_a - next_s * a / s  # α_s (1 - exp(-h)), also where h is infinite
        return Plan(
            *places(grid),
            from_x=next_s / s,
            from_data=factor * (1 + weight),
            from_last_data=-factor * weight,
        )
