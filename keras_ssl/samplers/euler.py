"""Euler's and Heun's methods for the differential equation of a path."""

import keras
import numpy as np

from keras_ssl.samplers.noise_path import Grid, NoisePath
from keras_ssl.samplers.sampler import Plan, Sampler, places


@keras.saving.register_keras_serializable(package="keras_ssl")
class Euler(Sampler):
    r"""Euler's method for the probability flow of diffusion, and for flow matching.

    In diffusion it integrates d(x/α)/d(σ/α) = ε, in flow matching dx/dt = ε - x_0. In both, a step
    from t to s is

        x_s = α_s x_0 + σ_s ε

    which is also that of `DDIM` with η = 0.

    Args:
        clip: whether predictions of the data are clipped to the range that the trainer states.
        spacing: "trailing", "leading" or "linspace", see `Sampler`.

    Raises:
        ValueError: if `spacing` is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import samplers
    >>> def predict(x, time, signal, noise):  # data that is always 0
    ...     return 0.0 * x, x / noise
    >>> path = samplers.StraightPath()
    >>> samplers.Euler().sample(path, predict, np.ones((2, 3), "float32"), steps=10).numpy()
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)

    Reference:
        - [Score-Based Generative Modeling through Stochastic Differential Equations](
          https://arxiv.org/abs/2011.13456), Song et al., 2020
    """

    def coefficients(self, path: NoisePath, grid: Grid) -> Plan:
        """Return the plan for the times of a grid.

        Args:
            path: the path.
            grid: the times.
        """
        return Plan(*places(grid), from_data=grid.signal[1:], from_noise=grid.noise[1:])


@keras.saving.register_keras_serializable(package="keras_ssl")
class Heun(Sampler):
    r"""Heun's method, of second order: two evaluations of the denoiser per step.

    A step of `Euler` leads to a first estimate of x_s. The derivative there and that at the start
    are averaged, and the step is repeated with their mean. The last step, and a step from pure
    noise in diffusion, where σ/α is infinite, are Euler's. So n steps take 2n - 1 evaluations, or
    one less.

    Near pure noise σ/α is large, by the cosine schedule 20,000 at the last time. The first step
    then amplifies the rounding of float32 to the third digit; `DPMSolverPlusPlus2M` does not.

    Args:
        clip: whether predictions of the data are clipped to the range that the trainer states, in
            steps of Euler's method.
        spacing: "trailing", "leading" or "linspace", see `Sampler`.

    Raises:
        ValueError: if `spacing` is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import samplers
    >>> def predict(x, time, signal, noise):  # data that is always 0
    ...     return 0.0 * x, x / noise
    >>> schedule = samplers.NoiseSchedule("cosine")
    >>> x = samplers.Heun().sample(schedule, predict, np.ones((2, 3), "float32"), steps=10)
    >>> np.abs(np.round(x, 3))
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    >>> len(samplers.Heun().plan(schedule, steps=10))
    19

    Reference:
        - [Elucidating the Design Space of Diffusion-Based Generative Models](
          https://arxiv.org/abs/2206.00364), Karras et al., 2022
    """

    def coefficients(self, path: NoisePath, grid: Grid) -> Plan:
        """Return the plan for the times of a grid.

        Args:
            path: the path.
            grid: the times.
        """
        # With c = α + kσ, x/c = x_0 + (σ/c) (ε - k x_0): the derivative of x/c by σ/c is ε - k x_0.
        # Diffusion takes k = 0; straight paths take k = 1, for which c = 1 and σ/c = t.
        k = 1.0 if path.is_straight else 0.0
        rows = []
        for step, (time, a, s, next_a, next_s) in enumerate(zip(*places(grid), strict=True)):
            there = {"next_signal": next_a, "next_noise": next_s}
            rows.append(
                {"time": time, "signal": a, "noise": s, **there}
                | {"from_data": next_a, "from_noise": next_s}
            )
            c, next_c = a + k * s, next_a + k * next_s
            if next_s == 0 or c == 0:
                continue
            half = next_c * (next_s / next_c - s / c) / 2
            rows.append(
                {"time": grid.time[step + 1], "signal": next_a, "noise": next_s, **there}
                | {"from_noise": half, "from_data": -k * half}
                | {"from_last_noise": half, "from_last_data": -k * half}
                | {"from_last_x": next_c / c}
            )
        names = dict.fromkeys(name for row in rows for name in row)
        return Plan(**{name: np.array([row.get(name, 0.0) for row in rows]) for name in names})
