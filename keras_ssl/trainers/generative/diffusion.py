"""Diffusion: learn to take noise away at all levels, and make data from noise alone."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, samplers
from keras_ssl.samplers.predictions import PREDICTIONS
from keras_ssl.trainers.generative._denoising_model import DenoisingModel
from keras_ssl.trainers.generative._likelihood import Bounds, bound_rows
from keras_ssl.trainers.generative._request import request_of
from keras_ssl.trainers.parts import serialize_parts


@keras.saving.register_keras_serializable(package="keras_ssl")
class Diffusion(DenoisingModel):
    r"""Denoising diffusion model.

    Noise ε is added to data x_0 at a random time t,

        x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε

    and the denoiser predicts, from x_t and t, the noise ε, the data x_0, or
    v = √ᾱ_t ε - √(1 - ᾱ_t) x_0:

        L = mean over examples of w_t |denoiser(x_t, t) - target|² / dimensions

    with w_t = 1, or with the weights of min-SNR. `sample` starts with noise and takes it away step
    by step, with the moving average of the weights, `trainer.teacher_denoiser`.

    The denoiser is called on a dictionary: `"x"`, the noisy data; `"time"`, float32 `(batch,)`;
    and, if it depends on them, `"label"`, int32 `(batch,)`, where `num_classes` means no label;
    `"tokens"`, `(batch, length, dim)`, where zeros mean no condition, with `"tokens_mask"`; and
    `"image"`, an image `(batch, height, width, channels)`.

    Args:
        denoiser: `keras.Model` that returns the shape of `"x"`, such as
            `networks.diffusion_unet`.
        schedule: `samplers.NoiseSchedule`. `None` means the linear one of 1,000 steps. With a
            cosine one, `value_range=None` and noise that is predicted, the first step of sampling
            amplifies errors, which nothing clips: predict v.
        prediction: what the denoiser predicts, "epsilon", "x0" or "v".
        value_range: the smallest and the largest value of the data, which the denoiser sees from -1
            to 1. Data outside are refused, and samples are in that range. `None` leaves data as
            they are; they should then have a mean of about 0 and a deviation of about 1.
        num_classes: number of classes of the labels that the denoiser is told, which `fit` gets as
            `y`; -1 means that an example has none. `None` for a model without labels.
        condition_dropout: share of the examples whose conditions are left out in training, so that
            the denoiser learns the unconditional model too, which guidance needs. With 0, `sample`
            expects all conditions, and no guidance.
        min_snr_gamma: γ of min-SNR weighting: w_t = min(SNR_t, γ) / SNR_t for "epsilon",
            min(SNR_t, γ) for "x0", min(SNR_t, γ) / (SNR_t + 1) for "v". `None` means w_t = 1.
        ema_momentum: momentum of the moving average of the weights, in [0, 1), or a schedule of it.
            0.9999 is usual in long trainings. The average starts at the initial weights, without a
            warm-up: with 0.999, 37% of it are initial weights after 1,000 steps, 0.7% after 5,000.
        augment: layer that makes one view of a batch of data, such as a random flip. `None` leaves
            data as they are. It changes `"x"` alone: augment data with a condition image in the
            dataset, both alike.
        feature_layer: name of the layer whose output is the representation, `trainer.encoder`; see
            `DenoiserFeatures`.
        feature_time: the time at which it is computed.
        seed: integer seed of times, noise and dropped conditions; `None` for a random one.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of data, or a dictionary of data and conditions.

    Input shape:
        `(batch, ...)`: tensors of any shape that the denoiser takes; or, for conditions other than
        labels, a dictionary `{"x": data, "tokens": ..., "image": ...}`.

    Output shape:
        `(batch, features)`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range or unknown, the schedule ends in pure noise and
            the noise is predicted or weighted by min-SNR; before the first step, if values lie
            outside of `value_range`, or the denoiser returns another shape.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> x, time = keras.Input((2,), name="x"), keras.Input((), name="time")
    >>> h = keras.layers.Concatenate()([x, keras.layers.Reshape((1,))(time) / 1000])
    >>> h = keras.layers.Dense(32, "relu")(h)
    >>> denoiser = keras.Model({"x": x, "time": time}, keras.layers.Dense(2)(h))
    >>> trainer = keras_ssl.trainers.Diffusion(denoiser, value_range=None)
    >>> trainer.compile("adam")
    >>> points = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> history = trainer.fit(points, batch_size=32, verbose=0)
    >>> trainer.sample(8, steps=10, sampler=keras_ssl.samplers.DPMSolverPlusPlus2M()).shape
    (8, 2)

    Reference:
        - [Denoising Diffusion Probabilistic Models](https://arxiv.org/abs/2006.11239), Ho et al.,
          2020
        - [Progressive Distillation for Fast Sampling of Diffusion Models](
          https://arxiv.org/abs/2202.00512), Salimans & Ho, 2022, for v
        - [Classifier-Free Diffusion Guidance](https://arxiv.org/abs/2207.12598), Ho & Salimans,
          2022
        - [Efficient Diffusion Training via Min-SNR Weighting Strategy](
          https://arxiv.org/abs/2303.09556), Hang et al., 2023
    """

    default_sampler = samplers.DDIM()

    def __init__(
        self,
        denoiser: keras.Model,
        schedule: samplers.NoiseSchedule | None = None,
        prediction: str = "epsilon",
        value_range: tuple[float, float] | None = (0.0, 255.0),
        num_classes: int | None = None,
        condition_dropout: float = 0.1,
        min_snr_gamma: float | None = None,
        ema_momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.999,
        augment: keras.layers.Layer | None = None,
        feature_layer: str | None = None,
        feature_time: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        schedule = samplers.NoiseSchedule() if schedule is None else schedule
        if not isinstance(schedule, samplers.NoiseSchedule):
            raise TypeError(
                "`schedule` must be a `keras_ssl.samplers.NoiseSchedule`. "
                f"Received: schedule={schedule!r}"
            )
        if prediction not in PREDICTIONS:
            raise ValueError(
                f"`prediction` must be one of {PREDICTIONS}. Received: prediction={prediction!r}"
            )
        if schedule.zero_terminal_snr and (prediction == "epsilon" or min_snr_gamma is not None):
            raise ValueError(
                "At the last time x_t is pure noise: ε says nothing about the data, and min-SNR "
                "weighting leaves this time out. Expected prediction='v' or 'x0' without "
                f"min_snr_gamma. Received: prediction={prediction!r}, min_snr_gamma={min_snr_gamma}"
            )
        if min_snr_gamma is not None:
            min_snr_gamma = checks.positive("min_snr_gamma", min_snr_gamma)
        super().__init__(
            denoiser,
            schedule,
            prediction,
            value_range,
            num_classes,
            condition_dropout,
            ema_momentum,
            augment,
            feature_layer,
            feature_time,
            seed,
            **kwargs,
        )
        self.min_snr_gamma = min_snr_gamma
        self._bounds = Bounds(self)

    def forget_loops(self) -> None:
        """Forget what `sample` and `log_likelihood` have traced."""
        super().forget_loops()
        self._bounds.clear()

    @property
    def schedule(self) -> samplers.NoiseSchedule:
        """The schedule of the noise."""
        return self.noise_path

    def loss_weights_at(self, time: Any) -> Any:
        """Return the factor of the error at each time, a number or `(batch,)`."""
        if self.min_snr_gamma is None:
            return 1.0
        weights = _min_snr_weights(self.schedule, self.prediction, self.min_snr_gamma)
        weights = ops.convert_to_tensor(weights, "float32")
        return ops.take(weights, ops.cast(time, "int32"), axis=0)

    def log_likelihood(
        self,
        x: Any,
        *,
        label: Any = None,
        tokens: Any = None,
        tokens_mask: Any = None,
        image: Any = None,
        levels: int | None = 256,
        variance: str = "small",
        seed: int = 0,
        batch_size: int = 256,
        verbose: int = 0,
    ) -> np.ndarray:
        r"""Return a lower bound of the log-probability of data, in bits per dimension.

        It is the variational bound of all times of the schedule, each at one drawn x_t, with the
        average of the weights:

            log p(x_0) >= log p(x_0 | x_1) - Σ_t KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t))
                          - KL(q(x_T | x_0) ‖ N(0, I))

        divided by the number of dimensions and by log 2. The negative values are the "bits per
        dimension" of the literature, of which fewer are better.

        Args:
            x: data `(n, ...)` in `value_range`.
            label: classes, an integer or `(n,)`, of a model of `num_classes`.
            tokens: tokens of a model that takes them.
            tokens_mask: their mask.
            image: condition images of a model that takes them.
            levels: how many equally spaced values data can have, from the smallest to the largest
                of `value_range`: 256 for images of 8 bits. `None` means that data is continuous;
                the result is then the logarithm of a density.
            variance: variance of p(x_{t-1} | x_t), as that of `samplers.DDPM`.
            seed: integer seed of the noise.
            batch_size: how many examples are computed together.
            verbose: 1 for a progress bar.

        Returns:
            float32 array `(n,)`.

        Raises:
            ValueError: if `x` does not fit the model, has other values than `levels` says, or
                `levels` needs a `value_range`.
        """
        if levels is not None:
            levels = checks.integer("levels", levels, minimum=2)
            if not self.is_bounded:
                raise ValueError(
                    "`levels` are those between the values of `value_range`. Expected levels=None "
                    f"of a model without a range, and of latents. Received: levels={levels}"
                )
        rows = bound_rows(self.schedule, variance)
        request = request_of(
            self,
            n=None,
            steps=1,
            guidance_scale=1.0,
            sampler=None,
            seed=seed,
            label=label,
            tokens=tokens,
            tokens_mask=tokens_mask,
            image=image,
            start=x,
            strength=1.0,
            classifier=None,
        )
        if levels is not None:
            self._check_levels(request.inputs["start"], levels)
        scores = self._bounds.scores(
            request, rows, levels, checks.integer("batch_size", batch_size, minimum=1), verbose
        )
        if levels is None and self.is_bounded:
            low, high = self.value_range  # the density of data in their own range
            scores = scores + np.float32(np.log2(2 / (high - low)))
        return scores

    def _check_levels(self, x: np.ndarray, levels: int) -> None:
        """Raise unless all values lie on the levels, but for rounding."""
        low, high = self.value_range
        at = (x - low) * ((levels - 1) / (high - low))
        off = np.abs(at - np.round(at))
        if off.max() > 0.01:
            raise ValueError(
                f"`x` must have {levels} equally spaced values from {low:g} to {high:g}. Round it "
                "to them, or pass levels=None for the density of continuous data. Received: the "
                f"value {x.flat[off.argmax()]:g}"
            )

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        own = {"prediction": self.prediction, "min_snr_gamma": self.min_snr_gamma}
        return {**super().get_config(), **serialize_parts(schedule=self.schedule), **own}


def _min_snr_weights(schedule: samplers.NoiseSchedule, prediction: str, gamma: float) -> np.ndarray:
    """Return the weights of min-SNR, float64 `(steps,)`."""
    snr = schedule.alpha_bars / (1 - schedule.alpha_bars)
    divisor = {"epsilon": snr, "x0": 1.0, "v": snr + 1}[prediction]
    return np.minimum(snr, gamma) / divisor
