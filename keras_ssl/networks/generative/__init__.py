"""Networks that generate images."""

from keras_ssl.networks.generative.autoencoders import conv_decoder, conv_encoder
from keras_ssl.networks.generative.dcgan import dcgan_discriminator, dcgan_generator
from keras_ssl.networks.generative.diffusion_unet import diffusion_unet

__all__ = [
    "conv_decoder",
    "conv_encoder",
    "dcgan_discriminator",
    "dcgan_generator",
    "diffusion_unet",
]
