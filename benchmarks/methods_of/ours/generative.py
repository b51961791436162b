"""Methods that generate."""

from collections.abc import Sequence

import keras

from keras_ssl import losses, networks, samplers, trainers
from methods_of.ours._shared import (
    Images,
    Method,
    Trainer,
    held_out_probe,
    pixel_decoder,
    small_encoder,
    trained_part,
)


def autoencoder(train: Images, width: int, decoder: Sequence[int]) -> Trainer:
    encoder = small_encoder(width)
    return trainers.Autoencoder(encoder, pixel_decoder(decoder, encoder.output_shape[-1]))


def vae(
    train: Images, width: int, decoder: Sequence[int], latent: int, deviation: float
) -> Trainer:
    """Pixels are normal, with this standard deviation, on the scale from 0 to 255."""
    likelihood = losses.GaussianNLL(deviation)
    return trainers.VAE(small_encoder(width), pixel_decoder(decoder, latent), latent, likelihood)


def diffusion(train: Images, width: int) -> Trainer:
    unet = networks.diffusion_unet(
        (32, 32, 3), (width, 2 * width, 4 * width), blocks=1, attention_levels=(2,)
    )
    schedule = samplers.NoiseSchedule("cosine")
    return trainers.Diffusion(unet, schedule, "v", min_snr_gamma=5.0, ema_momentum=0.999)


def best_features(trainer: trainers.Diffusion, train: Images) -> keras.Model:
    """The layer and the time whose features are best for a probe, on images held out for it."""
    few = Images(train.images[:12_000], train.labels[:12_000])
    layers_tried = ("middle_block_2", "up_3_block_1", "up_3_block_2", "up_2_block_1")
    found = {
        (layer, time): held_out_probe(trainer.encoder_at(layer, time), few)
        for layer in layers_tried
        for time in (10, 50, 100)
    }
    layer, time = max(found, key=found.get)
    print(f"diffusion, features of {layer} at time {time}: {found[layer, time]:.3f} of {found}")
    return trainer.encoder_at(layer, time)


METHODS = {
    "Autoencoder": Method(autoencoder),
    "VAE": Method(vae, encoder=trained_part),
    "Diffusion": Method(diffusion, encoder=best_features),
}
