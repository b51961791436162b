"""The generators of `benchmarks/generation.py`: recipes, and how they learn and make images."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from image_data import shuffled_batches
from keras.optimizers.schedules import CosineDecay

from keras_ssl import networks, samplers, trainers

CLASSES = 10


class Images(NamedTuple):
    """The training images, bytes, and their labels, as arrays."""

    images: np.ndarray
    labels: np.ndarray


class Generator(NamedTuple):
    """What has learned to make images.

    Attributes:
        trainers: the trainers that learned it, whose parameters count.
        sample: function of labels, a seed and a scale of guidance that returns as many images, with
            values from 0 to 255; one without labels makes as many of whatever classes.
        takes_labels: whether the images are those of the labels.
    """

    trainers: list[keras.Model]
    sample: Callable[[np.ndarray, int, float], np.ndarray]
    takes_labels: bool = False

    def parameters(self) -> int:
        """Number of parameters that were trained."""
        weights = {id(one): one for each in self.trainers for one in each.trainable_variables}
        return sum(math.prod(one.shape) for one in weights.values())


def train_vae(
    train: Images,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    widths: tuple[int, ...],
    features: int,
    latent: int,
) -> Generator:
    """A VAE of gray values, which are taken for the probabilities of white pixels."""
    shape = train.images.shape[1:]
    trainer = trainers.VAE(
        networks.conv_encoder(shape, widths, features),
        networks.conv_decoder(shape, widths, latent),
        latent,
        seed=seed,
    )
    data = shuffled_batches(train.images, batch_size).map(lambda x: tf.cast(x, "float32") / 255)
    trainer.compile(_adam(learning_rate, epochs * len(data)))
    trainer.fit(data, epochs=epochs, verbose=2)
    return Generator([trainer], lambda labels, seed, _: 255 * trainer.sample(len(labels), seed))


def train_gan(
    train: Images,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    width: int,
    latent: int,
    ema_momentum: float,
) -> Generator:
    """A GAN of DCGAN's networks, with the non-saturating objective."""
    shape = train.images.shape[1:]
    trainer = trainers.GAN(
        networks.dcgan_generator(shape, latent, width),
        networks.dcgan_discriminator(shape, width),
        latent,
        ema_momentum=ema_momentum,
        feature_layer="features",
        seed=seed,
    )
    names = ("generator", "discriminator")
    trainer.compile({name: keras.optimizers.Adam(learning_rate, beta_1=0.5) for name in names})
    data = shuffled_batches(train.images, batch_size).map(_to_tanh_range)
    trainer.fit(data, epochs=epochs, verbose=2)
    return Generator(
        [trainer], lambda labels, seed, _: 127.5 * (trainer.sample(len(labels), seed) + 1)
    )


def train_diffusion(
    train: Images, seed: int, steps: int, ema_momentum: float, unet: dict, **training: Any
) -> Generator:
    """A diffusion model of images, told the class."""
    trainer = trainers.Diffusion(
        _unet(train.images.shape[1:], **unet), **_diffusion(ema_momentum, seed)
    )
    _fit(trainer, train, **training)
    return _sampled([trainer], samplers.DPMSolverPlusPlus2M(), steps)


def train_flow_matching(
    train: Images, seed: int, steps: int, ema_momentum: float, unet: dict, **training: Any
) -> Generator:
    """The same network, trained by flow matching."""
    trainer = trainers.FlowMatching(
        _unet(train.images.shape[1:], **unet),
        num_classes=CLASSES,
        ema_momentum=ema_momentum,
        seed=seed,
    )
    _fit(trainer, train, **training)
    return _sampled([trainer], samplers.Heun(), steps)


def train_latent_diffusion(
    train: Images,
    seed: int,
    steps: int,
    ema_momentum: float,
    unet: dict,
    autoencoder: dict,
    **training: Any,
) -> Generator:
    """A diffusion model of an autoencoder's latents, told the class; both are trained here."""
    coder = _train_autoencoder(train, **autoencoder)
    trainer = trainers.LatentDiffusion(
        _unet(coder.encoder.output_shape[1:], **unet),
        coder.encoder,
        coder.decoder,
        value_range=(-1.0, 1.0),
        **_diffusion(ema_momentum, seed),
    )
    _fit(trainer, train, prepare=_to_tanh_range, **training)
    made = _sampled([coder, trainer], samplers.DPMSolverPlusPlus2M(), steps)
    return made._replace(sample=lambda *arguments: 127.5 * (made.sample(*arguments) + 1))


def _train_autoencoder(
    train: Images,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    widths: tuple[int, ...],
    channels: int,
) -> trainers.Autoencoder:
    shape = train.images.shape[1:]
    trainer = trainers.Autoencoder(
        networks.conv_encoder(shape, widths, channels=channels),
        networks.conv_decoder(shape, widths, channels=channels, activation="tanh"),
        loss="mean_absolute_error",
    )
    data = shuffled_batches(train.images, batch_size).map(_to_tanh_range)
    trainer.compile(_adam(learning_rate, epochs * len(data)))
    trainer.fit(data, epochs=epochs, verbose=2)
    return trainer


def _to_tanh_range(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, "float32") / 127.5 - 1


def _unet(shape: tuple[int, ...], **settings: Any) -> keras.Model:
    return networks.diffusion_unet(shape, num_classes=CLASSES, **settings)


def _diffusion(ema_momentum: float, seed: int) -> dict[str, Any]:
    """What both diffusion models share."""
    return {
        "schedule": samplers.NoiseSchedule("cosine"),
        "prediction": "v",
        "num_classes": CLASSES,
        "min_snr_gamma": 5.0,
        "ema_momentum": ema_momentum,
        "seed": seed,
    }


def _fit(
    trainer: keras.Model,
    train: Images,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    prepare: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> None:
    """Trains a denoiser."""
    data = shuffled_batches(tuple(train), batch_size)
    if prepare is not None:
        data = data.map(lambda x, y: (prepare(x), y))
    trainer.compile(_adam(learning_rate, epochs * len(data), warmup=100))
    trainer.fit(data, epochs=epochs, verbose=2)


def _adam(learning_rate: float, steps: int, warmup: int = 0) -> keras.optimizers.Optimizer:
    """AdamW whose learning rate falls to 0 along half a cosine, after a warm-up."""
    warmup = min(warmup, steps // 2)
    if warmup:
        rate = CosineDecay(0.0, steps - warmup, warmup_target=learning_rate, warmup_steps=warmup)
    else:
        rate = CosineDecay(learning_rate, steps)
    return keras.optimizers.AdamW(rate, weight_decay=1e-4)


def _sampled(learned: list[keras.Model], sampler: samplers.Sampler, steps: int) -> Generator:
    """A denoiser, the last of what was learned, that makes images by a sampler."""

    def sample(labels: np.ndarray, seed: int, guidance_scale: float) -> np.ndarray:
        return learned[-1].sample(
            steps=steps, guidance_scale=guidance_scale, sampler=sampler, seed=seed, label=labels
        )

    return Generator(learned, sample, takes_labels=True)


_DENOISER = {"batch_size": 128, "learning_rate": 2e-3, "ema_momentum": 0.995}
_UNET = {"widths": (16, 32, 64), "blocks": 1, "attention_levels": (2,)}

# by name, how it is trained and with which settings; "epochs" among them
RECIPES: dict[str, tuple[Callable[..., Generator], dict[str, Any]]] = {
    "VAE": (
        train_vae,
        {
            "epochs": 10,
            "batch_size": 128,
            "learning_rate": 1e-3,
            "widths": (32, 64),
            "features": 256,
            "latent": 16,
        },
    ),
    "GAN": (
        train_gan,
        {
            "epochs": 12,
            "batch_size": 128,
            "learning_rate": 4e-4,
            "width": 32,
            "latent": 64,
            "ema_momentum": 0.995,
        },
    ),
    "diffusion": (train_diffusion, {"epochs": 4, "steps": 20, "unet": _UNET, **_DENOISER}),
    "flow matching": (train_flow_matching, {"epochs": 4, "steps": 12, "unet": _UNET, **_DENOISER}),
    "latent diffusion": (
        train_latent_diffusion,
        {
            "epochs": 5,
            "steps": 20,
            "unet": {"widths": (64,), "blocks": 1, "attention_levels": (0,)},
            "autoencoder": {
                "epochs": 3,
                "batch_size": 128,
                "learning_rate": 2e-3,
                "widths": (16, 32),
                "channels": 4,
            },
            **_DENOISER,
        },
    ),
}
