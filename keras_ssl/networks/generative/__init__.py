"""Networks that generate images."""

from keras_ssl.networks.generative.autoencoders import conv_decoder, conv_encoder
from keras_ssl.networks.generative.dcgan import dcgan_discriminator, dcgan_generator
from keras_ssl.networks.generative.diffusion_unet import diffusion_unet
from keras_ssl.networks.generative.dit import dit
from keras_ssl.networks.generative.resnet_gan import resnet_discriminator, resnet_generator
from keras_ssl.networks.generative.text_conditioned import text_conditioned

__all__ = [
    "conv_decoder",
    "conv_encoder",
    "dcgan_discriminator",
    "dcgan_generator",
    "diffusion_unet",
    "dit",
    "resnet_discriminator",
    "resnet_generator",
    "text_conditioned",
]
