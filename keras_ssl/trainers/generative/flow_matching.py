"""Flow matching: learn the velocity from noise to data along straight lines."""

from typing import Any

import keras

from keras_ssl import samplers
from keras_ssl.samplers.predictions import VELOCITY
from keras_ssl.trainers.generative._denoising_model import DenoisingModel


@keras.saving.register_keras_serializable(package="keras_ssl")
class FlowMatching(DenoisingModel):
    r"""Flow matching along straight lines, which is rectified flow.

    Data x_0 and noise ε are joined by a line, and the denoiser predicts the velocity along it, at a
    random time t in [0, 1]:

        x_t = (1 - t) x_0 + t ε
        L = mean over examples of |denoiser(x_t, 1000 t) - (ε - x_0)|² / dimensions

    What it learns is the mean velocity of all lines through a point, the flow that leads from
    noise, at t = 1, to data, at t = 0. `sample` follows it with `samplers.Euler` or
    `samplers.Heun`. The direction of time is that of diffusion, so that `"time"` means the same to
    a network: papers on flows often have noise at t = 0.

    The denoiser, its conditions, guidance, changing and filling data are as in `Diffusion`.

    Args:
        denoiser: `keras.Model` that returns the shape of `"x"`, such as `networks.diffusion_unet`.
        value_range: the smallest and the largest value of the data, which the denoiser sees from -1
            to 1. `None` leaves data as they are.
        num_classes: number of classes of the labels that the denoiser is told, or `None`.
        condition_dropout: share of the examples whose conditions are left out in training.
        ema_momentum: momentum of the moving average of the weights, or a schedule of it. The
            average starts at the initial weights: with 0.999, 37% of it are initial weights after
            1,000 steps.
        augment: layer that makes one view of a batch of data. `None` leaves data as they are. It
            changes `"x"` alone, and is refused with a condition image.
        feature_layer: name of the layer whose output is the representation, see
            `DenoiserFeatures`.
        feature_time: the time at which it is computed, from 0 to 1000.
        seed: integer seed of times, noise and dropped conditions; `None` for a random one.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of data, or a dictionary of data and conditions.

    Input shape:
        `(batch, ...)`: tensors of any shape that the denoiser takes; or a dictionary
        `{"x": data, "tokens": ..., "image": ...}`.

    Output shape:
        `(batch, features)`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; before the first step, if values lie outside of
            `value_range`, or the denoiser returns another shape.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> x, time = keras.Input((2,), name="x"), keras.Input((), name="time")
    >>> h = keras.layers.Concatenate()([x, keras.layers.Reshape((1,))(time) / 1000])
    >>> h = keras.layers.Dense(32, "relu")(h)
    >>> denoiser = keras.Model({"x": x, "time": time}, keras.layers.Dense(2)(h))
    >>> trainer = keras_ssl.trainers.FlowMatching(denoiser, value_range=None)
    >>> trainer.compile("adam")
    >>> points = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> history = trainer.fit(points, batch_size=32, verbose=0)
    >>> trainer.sample(8, steps=10, sampler=keras_ssl.samplers.Heun()).shape
    (8, 2)

    Reference:
        - [Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow](
          https://arxiv.org/abs/2209.03003), Liu et al., 2022
        - [Flow Matching for Generative Modeling](https://arxiv.org/abs/2210.02747), Lipman et al.,
          2022
    """

    default_sampler = samplers.Euler()

    def __init__(
        self,
        denoiser: keras.Model,
        value_range: tuple[float, float] | None = (0.0, 255.0),
        num_classes: int | None = None,
        condition_dropout: float = 0.1,
        ema_momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.999,
        augment: keras.layers.Layer | None = None,
        feature_layer: str | None = None,
        feature_time: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            denoiser,
            samplers.StraightPath(),
            VELOCITY,
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
