"""Networks from and to pixels from 0 to 255, of trainers that are made by their names."""

from collections.abc import Sequence

import keras

from keras_ssl import networks

Shape = tuple[int, int, int]


def pixel_decoder(
    shape: Shape,
    widths: Sequence[int] = (32, 64),
    features: int | None = None,
    channels: int | None = None,
) -> keras.Model:
    """Return a decoder from features, or feature maps of `channels`, to images of this shape."""
    decoder = networks.conv_decoder(shape, widths, features, channels)
    return keras.Sequential([decoder, _to_pixels()], name="decoder")


def pixel_generator(shape: Shape, latent_dim: int, num_classes: int | None = None) -> keras.Model:
    """Return a generator from random numbers, and labels of classes, to images of this shape."""
    generator = networks.dcgan_generator(shape, latent_dim, num_classes=num_classes)
    images = _to_pixels()(generator.output)
    return keras.Model(generator.input, images, name="generator")


def pixel_discriminator(shape: Shape, num_classes: int | None = None) -> keras.Model:
    """Return a discriminator of images of this shape."""
    discriminator = networks.dcgan_discriminator(shape, num_classes=num_classes)
    if num_classes is None:
        scale = keras.layers.Rescaling(1 / 127.5, offset=-1.0)
        return keras.Sequential([scale, discriminator], name="discriminator")
    x, label = (keras.Input(one.shape[1:], dtype=one.dtype) for one in discriminator.inputs)
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(x)
    inputs = {"x": x, "label": label}
    logits = discriminator({"x": scaled, "label": label})
    return keras.Model(inputs, logits, name="discriminator")


def _to_pixels() -> keras.layers.Layer:
    return keras.layers.Rescaling(127.5, offset=127.5, dtype="float32")
