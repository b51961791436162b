"""Latent diffusion: diffusion in the latents of a trained autoencoder."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import networks, samplers
from keras_ssl._keras_internals import all_layers
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.generative._spaces import check_in_range, scaled
from keras_ssl.trainers.generative.diffusion import Diffusion
from keras_ssl.trainers.generative.latents import Latents, check_trained
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import freeze


@keras.saving.register_keras_serializable(package="keras_ssl")
class LatentDiffusion(Diffusion):
    r"""Diffusion in the latents of a trained autoencoder.

    An encoder E maps data to latents of fewer numbers, and a decoder D maps latents to data. Both
    are trained before and stay as they are. The denoiser learns as in `Diffusion`, with the latents
    times a scale in the place of the data:

        x_0 = scale · E(data)

    and samples are D(x_0 / scale). The scale brings the latents to a standard deviation of 1. It is
    measured on up to 1,024 examples of the first batch, or of arrays, before the first step, and
    saved.

    `fine_tune_decoder` trains the decoder afterwards, with the latents as they are, so that it need
    not be good before. The likelihood of `log_likelihood` is that of latents, with `levels=None`.

    Args:
        denoiser: `keras.Model` that returns the shape of `"x"`, the latents.
        latent_encoder: trained layer E. It is called on data as they are, not rescaled.
        latent_decoder: trained layer D, which returns data in their own range.
        schedule: `samplers.NoiseSchedule`. `None` means the scaled linear one of 1,000 steps.
        prediction: what the denoiser predicts, "epsilon", "x0" or "v".
        value_range: the smallest and the largest value of the data. Data outside are refused, and
            samples are clipped to it. `None` for data of any value.
        latent_scale: the scale, above 0; `None` measures it.
        variational: whether the encoder returns means and log-variances side by side on the last
            axis, as that of `trainers.VAE`. The means are taken.
        **kwargs: as in `Diffusion`: `num_classes`, `condition_dropout`, `min_snr_gamma`,
            `ema_momentum`, `augment`, `feature_layer`, `feature_time`, `seed`, `name`, `dtype`.

    Call arguments:
        x: a batch of data, or a dictionary of data and conditions.

    Input shape:
        `(batch, ...)`: what the encoder takes, or a dictionary `{"x": data, "tokens": ...}`.

    Output shape:
        `(batch, features)`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range or unknown, or the autoencoder has no weights;
            before the first step, if values lie outside of `value_range`, latents do not fit the
            denoiser, or the decoder does not return the shape of the data.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8)])
    >>> x, time = keras.Input((2,), name="x"), keras.Input((), name="time")
    >>> h = keras.layers.Concatenate()([x, keras.layers.Reshape((1,))(time) / 1000])
    >>> h = keras.layers.Dense(32, "relu")(h)
    >>> denoiser = keras.Model({"x": x, "time": time}, keras.layers.Dense(2)(h))
    >>> trainer = keras_ssl.trainers.LatentDiffusion(denoiser, encoder, decoder, value_range=None)
    >>> trainer.compile("adam")
    >>> data = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> history = trainer.fit(data, batch_size=32, verbose=0)
    >>> history = trainer.fine_tune_decoder(data, batch_size=32, verbose=0)
    >>> trainer.sample(4, steps=10).shape
    (4, 8)

    Reference:
        - [High-Resolution Image Synthesis with Latent Diffusion Models](
          https://arxiv.org/abs/2112.10752), Rombach et al., 2021
    """

    def __init__(
        self,
        denoiser: keras.Model,
        latent_encoder: keras.layers.Layer,
        latent_decoder: keras.layers.Layer,
        schedule: samplers.NoiseSchedule | None = None,
        prediction: str = "epsilon",
        value_range: tuple[float, float] | None = (0.0, 255.0),
        latent_scale: float | None = None,
        variational: bool = False,
        **kwargs: Any,
    ):
        check_trained("latent_decoder", latent_decoder)
        schedule = samplers.NoiseSchedule("scaled_linear") if schedule is None else schedule
        latents = Latents(latent_encoder, variational, latent_scale, name="latents")
        arguments = (denoiser, schedule, prediction, value_range)
        super().__init__(*arguments, compress=latents, **kwargs)
        self.latent_decoder = latent_decoder

    @property
    def latents(self) -> Latents:
        """The layer from data to scaled latents."""
        return self.compress

    def frozen_parts(self) -> list[keras.layers.Layer]:
        """Return the autoencoder."""
        return [self.latents.encoder, self.latent_decoder]

    def check_values(self, x: Any) -> None:
        """Raise if values lie outside of the range, and measure the scale if it is not known."""
        super().check_values(x)
        data = self.to_encode(x)
        if not self.latents.has_scale and hasattr(data, "shape") and data.shape[0]:
            self.latents.measure(data)

    def check_space(self, x: Any, z: Any) -> None:
        """Raise unless latents fit the denoiser, and the decoder makes data of them."""
        super().check_space(x, z)
        shape = self.latent_decoder.compute_output_shape(tuple(z.shape))
        is_one = all(size is None or isinstance(size, int) for size in shape)
        if not is_one or tuple(shape[1:]) != tuple(x.shape[1:]):
            raise ValueError(
                "`latent_decoder` must return one tensor of the shape of the data. Received: "
                f"shape {shape} for data of shape {tuple(x.shape)}"
            )

    @property
    def can_sample(self) -> bool:
        """Whether the scale of latents is known, which `fit` may measure on its first batch."""
        return self.latents.has_scale

    def check_can_sample(self) -> None:
        """Raise unless the trainer is built and the scale of latents is known."""
        super().check_can_sample()
        self.latents.check_scale()

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the representation, as `keras.Model.predict`."""
        self.latents.check_scale()
        return super().predict(x, *args, **kwargs)

    # The space in which data is noise and becomes data: that of scaled latents

    def from_space(self, z: Any) -> Any:
        """Return data of scaled latents, clipped to their range."""
        x = self.unclipped(z)
        return x if self.value_range is None else ops.clip(x, *self.value_range)

    def unclipped(self, z: Any) -> Any:
        """Return data of scaled latents."""
        return at_least_float32(self.latent_decoder(self.latents.unscaled(z), training=False))

    @property
    def is_bounded(self) -> bool:
        """Whether latents lie between -1 and 1. Latents have no known bounds."""
        return False

    def mask_in_space(self, mask: Any, z: Any) -> Any:
        """Return a mask of data as one of latents: 1 where any of the data is 1."""
        mask = ops.max(mask, axis=-1, keepdims=True)
        sizes, found = tuple(z.shape[1:-1]), tuple(mask.shape[1:-1])
        if sizes and len(sizes) == len(found) and sizes != found:
            factors = tuple(-(-large // small) for large, small in zip(found, sizes, strict=True))
            mask = ops.max_pool(mask, factors, factors, padding="same")
        if tuple(mask.shape[1:-1]) != sizes or not sizes:
            raise ValueError(
                "Data can only be filled where latents have places, such as feature maps of "
                f"images. Received: latents of shape {tuple(z.shape)} for a mask {found}"
            )
        return mask

    def fine_tune_decoder(
        self, x: Any, optimizer: Any = "adam", loss: Any = "mean_squared_error", **kwargs: Any
    ) -> keras.callbacks.History:
        """Train the decoder to reconstruct data from the latents as they are.

        Layers of the decoder with `trainable=False` stay as they are.

        Args:
            x: data, as in `fit`.
            optimizer: Keras optimizer or its name.
            loss: Keras loss, or its name, of data and reconstruction, both scaled from -1 to 1 if
                there is a `value_range`.
            **kwargs: other arguments of `keras.Model.fit`: `batch_size`, `epochs`, ...

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: if all layers of the decoder are frozen, or data do not fit.
        """
        try:
            with self.distribute_strategy.scope():
                tuning = _DecoderTuning(self, loss)
                # a layer's flag is also that of the weights it learns, never of its statistics;
                # Keras passes it on to them only where it changes
                flags = [(layer, layer.trainable) for layer in all_layers(self.latent_decoder)]
                self.latent_decoder.trainable = False
                for layer, is_trainable in flags:
                    layer.trainable = is_trainable
                if not self.latent_decoder.trainable_weights:
                    raise ValueError(
                        "`latent_decoder` must have weights to train. Expected layers with "
                        "trainable=True. Received: a decoder whose layers are all frozen"
                    )
                tuning.compile(optimizer)
            return tuning.fit(x, **kwargs)
        finally:
            freeze(self.latent_decoder)

    @classmethod
    def denoiser_for(cls, images: ImageSpec) -> keras.Model:
        """Return the denoiser of a trainer that is made by its name: of latents."""
        latents = images.part("latent_encoder").compute_output_shape((None, *images.shape))
        return networks.diffusion_unet(latents[1:], (64, 128))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = {"latent_encoder": self.latents.encoder, "latent_decoder": self.latent_decoder}
        own = {"latent_scale": self.latents.given_scale, "variational": self.latents.variational}
        return {**super().get_config(), **serialize_parts(**parts), **own}


class _DecoderTuning(SelfSupervisedModel):
    """Trains the decoder of a `LatentDiffusion` alone."""

    view_count = 1

    def __init__(self, trainer: LatentDiffusion, loss: Any):
        super().__init__(trainer.latents.encoder, trainer.augment, name="decoder_tuning")
        self.decoder = trainer.latent_decoder
        self._encode, self._to_encode = trainer.latents.encode, trainer.to_encode
        self._value_range = trainer.value_range
        self.loss_function = keras.losses.get(loss)

    def frozen_parts(self) -> list[keras.layers.Layer]:
        return [self.encoder]

    def to_encode(self, x: Any) -> Any:
        return self._to_encode(x)

    def check_values(self, x: Any) -> None:
        check_in_range(np.asarray(self.to_encode(x)), self._value_range, "data", fills=True)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        output = self.decoder(self._encode(batch.views), training=training)
        one, other = (scaled(part, self._value_range) for part in (batch.views, output))
        compute = getattr(self.loss_function, "call", self.loss_function)  # values, no mean
        return {"reconstruction": compute(one, other)}
