"""The schedule of variances of a diffusion model."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.samplers.noise_path import SPACINGS, Grid, NoisePath

KINDS = ("linear", "scaled_linear", "cosine", "sigmoid")
_BETAS = {"linear": (1e-4, 0.02), "sigmoid": (1e-4, 0.02), "scaled_linear": (8.5e-4, 0.012)}


@keras.saving.register_keras_serializable(package="keras_ssl")
class NoiseSchedule(NoisePath):
    r"""Schedule of the noise of a diffusion model: how much of it is in x_t at each time t.

    With variances β_t that are added at each of `steps` times, t = 0 ... steps - 1, and
    ᾱ_t = Π_{s ≤ t} (1 - β_s),

        q(x_t | x_0) = N(√ᾱ_t x_0, (1 - ᾱ_t) I)

    Kinds of schedules:

    - "linear": β rises linearly (DDPM);
    - "scaled_linear": √β rises linearly (latent diffusion);
    - "cosine": ᾱ_t = f(t + 1) / f(0) with f(t) = cos²((t / steps + 0.008) / 1.008 · π / 2), where β
      is at most 0.999 (improved DDPM);
    - "sigmoid": β rises as a sigmoid of numbers from -6 to 6.

    All is computed in float64 when the object is made.

    Args:
        kind: "linear", "scaled_linear", "cosine" or "sigmoid".
        steps: number of times.
        betas: the smallest and the largest β, for all kinds but "cosine". `None` means (0.0001,
            0.02), and (0.00085, 0.012) for "scaled_linear": those of the papers, for 1,000 steps.
        zero_terminal_snr: whether √ᾱ is shifted and scaled so that nothing of the data is left at
            the last time, as sampling assumes. A model then predicts v or x_0: at the last time
            x_t is pure noise, and ε says nothing about the data.

    Attributes:
        betas, alpha_bars: β_t and ᾱ_t, float64 arrays `(steps,)`.
        signal, noise: √ᾱ_t and √(1 - ᾱ_t), float64 arrays `(steps,)`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `kind` is unknown, `steps` is below 2, or `betas` are not two numbers in
            (0, 1), or given for the cosine schedule.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import samplers
    >>> schedule = samplers.NoiseSchedule("cosine", steps=1000)
    >>> [round(float(one), 3) for one in schedule.signal[[0, 500, 999]]]
    [1.0, 0.702, 0.0]
    >>> x, noise = np.zeros((2, 8, 8, 3), "float32"), np.ones((2, 8, 8, 3), "float32")
    >>> schedule.add_noise(x, noise, np.array([0, 500])).shape
    TensorShape([2, 8, 8, 3])

    Reference:
        - [Denoising Diffusion Probabilistic Models](https://arxiv.org/abs/2006.11239), Ho et al.,
          2020
        - [Improved Denoising Diffusion Probabilistic Models](https://arxiv.org/abs/2102.09672),
          Nichol & Dhariwal, 2021
        - [Common Diffusion Noise Schedules and Sample Steps are Flawed](
          https://arxiv.org/abs/2305.08891), Lin et al., 2023
    """

    def __init__(
        self,
        kind: str = "linear",
        steps: int = 1000,
        betas: tuple[float, float] | None = None,
        zero_terminal_snr: bool = False,
    ):
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")
        self.kind = kind
        self.steps = checks.integer("steps", steps, minimum=2)
        self.last_time = float(self.steps - 1)
        if betas is not None:
            betas = checks.interval("betas", betas, maximum=1.0, positive=True)
            if kind == "cosine":
                raise ValueError(
                    "The cosine schedule has no smallest and largest beta. Expected betas=None. "
                    f"Received: betas={betas}"
                )
        self.beta_range = betas
        self.zero_terminal_snr = bool(zero_terminal_snr)
        self.betas = _betas(kind, self.steps, betas or _BETAS.get(kind))
        self.alpha_bars = np.cumprod(1 - self.betas)
        if self.zero_terminal_snr:
            self.alpha_bars = _without_terminal_signal(self.alpha_bars)
            self.betas = 1 - self.alpha_bars / np.concatenate([[1.0], self.alpha_bars[:-1]])
        self.signal, self.noise = np.sqrt(self.alpha_bars), np.sqrt(1 - self.alpha_bars)

    def draw_times(self, count: Any, seed: keras.random.SeedGenerator) -> Any:
        """Draw times to train at, float32 `(count,)`, all equally probable.

        Args:
            count: how many.
            seed: the generator.
        """
        return ops.cast(keras.random.randint((count,), 0, self.steps, seed=seed), "float32")

    def levels(self, time: Any) -> tuple[Any, Any]:
        """Return √ᾱ_t and √(1 - ᾱ_t), tensors of the shape of `time`.

        Args:
            time: tensor of times, rounded to whole ones.
        """
        time = ops.cast(ops.round(time), "int32")
        dtype = keras.config.floatx()
        return tuple(
            ops.take(ops.convert_to_tensor(one, dtype), time, axis=0)
            for one in (self.signal, self.noise)
        )

    def grid(self, steps: int, spacing: str = "trailing") -> Grid:
        """Return the times of a sampler.

        Args:
            steps: how many, at most those of the schedule.
            spacing: how they are spread, see `Sampler`.
        """
        steps = checks.integer("steps", steps, minimum=1)
        if steps > self.steps:
            raise ValueError(
                f"`steps` of a sampler must be at most those of the schedule, {self.steps}. "
                f"Received: steps={steps}"
            )
        if spacing == "trailing":
            time = np.round(self.steps - self.steps / steps * np.arange(steps)) - 1
        elif spacing == "leading":
            time = np.arange(steps)[::-1] * (self.steps // steps)
        elif spacing == "linspace":
            time = np.round(np.linspace(self.steps - 1, 0, steps))
        else:
            raise ValueError(f"`spacing` must be one of {SPACINGS}. Received: spacing={spacing!r}")
        at = time.astype(int)
        return Grid(
            time.astype("float64"), np.append(self.signal[at], 1.0), np.append(self.noise[at], 0.0)
        )

    def posterior(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what q(x_{t-1} | x_t, x_0) = N(a_t x_0 + b_t x_t, v_t) is made of.

        Returns:
            The float64 arrays a, b and v, `(steps,)`. At time 0, where t - 1 is the data, they are
            1, 0 and 0.
        """
        before = np.concatenate([[1.0], self.alpha_bars[:-1]])
        of_data = np.sqrt(before) * self.betas / (1 - self.alpha_bars)
        of_noisy = np.sqrt(1 - self.betas) * (1 - before) / (1 - self.alpha_bars)
        return of_data, of_noisy, self.betas * (1 - before) / (1 - self.alpha_bars)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {
            "kind": self.kind,
            "steps": self.steps,
            "betas": None if self.beta_range is None else list(self.beta_range),
            "zero_terminal_snr": self.zero_terminal_snr,
        }

    @classmethod
    def from_config(cls, config: dict) -> "NoiseSchedule":
        """Make the schedule that `config` describes."""
        return cls(**config)


def _betas(kind: str, steps: int, limits: tuple[float, float] | None) -> np.ndarray:
    if kind == "cosine":
        angles = (np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2
        f = np.cos(angles) ** 2
        return np.minimum(1 - f[1:] / f[:-1], 0.999)
    low, high = limits
    if kind == "linear":
        return np.linspace(low, high, steps)
    if kind == "scaled_linear":
        return np.linspace(np.sqrt(low), np.sqrt(high), steps) ** 2
    return low + (high - low) / (1 + np.exp(-np.linspace(-6, 6, steps)))


def _without_terminal_signal(alpha_bars: np.ndarray) -> np.ndarray:
    """Shift √ᾱ so that the last is 0 and scale it so that the first stays (algorithm 1)."""
    roots = np.sqrt(alpha_bars)
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
