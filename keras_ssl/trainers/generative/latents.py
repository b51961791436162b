"""Latents of a trained autoencoder, scaled to a standard deviation of 1."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.engine.fit import is_eager
from keras_ssl.trainers.parts import serialize_parts

_EXAMPLES = 1024  # that the scale is measured on


@keras.saving.register_keras_serializable(package="keras_ssl")
class Latents(keras.layers.Layer):
    """Layer from data to the latents of a trained encoder, times a scale.

    Diffusion expects data with a standard deviation of about 1; the scale, one number, brings
    latents there. The encoder runs in inference mode, and no gradient reaches it.

    Args:
        encoder: trained layer that maps data to latents.
        variational: whether the encoder returns means and log-variances side by side on the last
            axis, as `keras.Sequential([vae.encoder, vae.to_posterior])` of a `trainers.VAE`. The
            means are taken.
        scale: the factor, above 0. `None` means that `measure` is called before the first use.
        **kwargs: `name`, `dtype` of the layer.

    Call arguments:
        x: data.

    Input shape:
        What the encoder takes.

    Output shape:
        That of the latents.

    Raises:
        TypeError: if `encoder` is not a Keras layer.
        ValueError: if the encoder has no weights yet, `scale` is not positive, latents are computed
            before their scale is known, or an encoder that is `variational` returns an odd number
            of channels.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import trainers
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> latents = trainers.Latents(encoder)
    >>> x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    >>> latents.measure(x)
    >>> round(float(np.std(latents(x))), 3)
    1.0
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        variational: bool = False,
        scale: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_trained("latent_encoder", encoder)
        self.encoder, self.variational = encoder, bool(variational)
        self.given_scale = None if scale is None else checks.positive("latent_scale", scale)
        # NaN until it is measured, so that nothing is learned with a wrong one
        first = float("nan") if scale is None else self.given_scale
        self.scale = self.add_weight(
            name="scale",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(first),
            trainable=False,
        )
        self.built = True

    @property
    def has_scale(self) -> bool:
        """Whether the scale is known."""
        return bool(np.isfinite(ops.convert_to_numpy(self.scale)))

    def check_scale(self) -> None:
        """Raise a `ValueError` if the scale is not known."""
        if not self.has_scale:
            raise ValueError(
                "The scale of latents must be known before they are used. Expected a trainer that "
                "was fitted, a call of `measure(x)`, or a given `latent_scale`. Received: no scale"
            )

    def encode(self, x: Any) -> Any:
        """Return the latents of data, not scaled."""
        z = at_least_float32(ops.stop_gradient(self.encoder(x, training=False)))
        if not self.variational:
            return z
        if z.shape[-1] % 2:
            raise ValueError(
                "With `variational=True`, `latent_encoder` must return means and log-variances "
                "side by side, an even number of channels. Received: latents of shape "
                f"{tuple(z.shape)}"
            )
        return ops.split(z, 2, axis=-1)[0]

    def measure(self, x: Any) -> None:
        """Set the scale to one over the standard deviation of the latents of data.

        Args:
            x: array or tensor of data, of which up to 1,024 examples are used.

        Raises:
            ValueError: if all latents are equal, or one is not finite.
        """
        rows = np.asarray(x)[:: max(1, len(x) // _EXAMPLES)][:_EXAMPLES]
        parts = [
            np.asarray(self.encode(ops.convert_to_tensor(rows[start : start + 128], "float32")))
            for start in range(0, len(rows), 128)
        ]
        deviation = float(np.std(np.concatenate(parts).astype("float64")))
        if not 0 < deviation < float("inf"):
            raise ValueError(
                "The latents of the first data have no standard deviation to scale them by. "
                f"Expected a trained `latent_encoder`. Received: a deviation of {deviation}"
            )
        self.scale.assign(1 / deviation)

    def call(self, x: Any) -> Any:
        """Return scaled latents."""
        if is_eager():  # in a graph the value cannot be read
            self.check_scale()
        return self.encode(x) * ops.cast(self.scale, "float32")

    def unscaled(self, z: Any) -> Any:
        """Return the encoder's latents of scaled ones."""
        if is_eager():
            self.check_scale()
        return z / ops.cast(self.scale, "float32")

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        own = {"variational": self.variational, "scale": self.given_scale}
        return {**super().get_config(), **serialize_parts(encoder=self.encoder), **own}

    @classmethod
    def from_config(cls, config: dict) -> "Latents":
        """Make the layer that `config` describes."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        return cls(**{**config, "encoder": encoder})


def check_trained(name: str, part: Any) -> None:
    """Raise unless a part of an autoencoder is a Keras layer with weights."""
    check_type(name, part, keras.layers.Layer)
    if not part.built or not part.weights:
        raise ValueError(
            f"`{name}` must be trained, and this one has no weights yet: build it and load its "
            f"weights first. Received: {part}"
        )
