"""DDIM, with noise or without."""

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.samplers.ddpm import transition_variances
from keras_ssl.samplers.noise_path import Grid, NoisePath
from keras_ssl.samplers.sampler import Plan, Sampler, places


@keras.saving.register_keras_serializable(package="keras_ssl")
class DDIM(Sampler):
    r"""DDIM: denoising diffusion implicit models.

    From time t to the earlier time s, with the denoiser's x_0 and ε,

        x_s = α_s x_0 + √(σ_s² - v) ε + √v z,    v = η² σ²_{t|s} σ_s² / σ_t²

    With η = 0 nothing is random but the start; with η = 1 the variance is that of `DDPM`.

    Args:
        eta: η, from 0 to 1.
        clip: whether predictions of the data are clipped to the range that the trainer states; ε is
            used as it was predicted.
        spacing: "trailing", "leading" or "linspace", see `Sampler`.

    Raises:
        ValueError: if `eta` is outside [0, 1], or `spacing` is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import samplers
    >>> schedule = samplers.NoiseSchedule("cosine")
    >>> def predict(x, time, signal, noise):  # data that is always 0
    ...     return 0.0 * x, x / noise
    >>> x = samplers.DDIM().sample(schedule, predict, np.ones((2, 3), "float32"), steps=10)
    >>> np.abs(np.round(x, 3))
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)

    Reference:
        - [Denoising Diffusion Implicit Models](https://arxiv.org/abs/2010.02502), Song et al., 2020
    """

    def __init__(self, eta: float = 0.0, clip: bool = True, spacing: str = "trailing"):
        super().__init__(clip, spacing)
        self.eta = checks.probability("eta", eta)

    def coefficients(self, path: NoisePath, grid: Grid) -> Plan:
        """Return the plan for the times of a grid.

        Args:
            path: the path.
            grid: the times.
        """
        _, _, s, next_a, next_s = places(grid)
        variance = self.eta**2 * transition_variances(grid) * (next_s / s) ** 2
        return Plan(
            *places(grid),
            from_data=next_a,
            from_noise=np.sqrt(next_s**2 - variance),
            from_random=np.sqrt(variance),
        )

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {**super().get_config(), "eta": self.eta}
