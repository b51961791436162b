"""Encoders, built as Keras models."""

from keras_ssl.networks.generative import (
    conv_decoder,
    conv_encoder,
    dcgan_discriminator,
    dcgan_generator,
    diffusion_unet,
)
from keras_ssl.networks.graph import gat, gcn, gin, graphsage
from keras_ssl.networks.to_keras import to_keras
from keras_ssl.networks.vision import (
    PatchTokenizer,
    TokenEncoder,
    VisionTransformer,
    cifar_stem,
    imagenet_stem,
    resnet,
    resnet18,
    resnet34,
    resnet50,
    small_resnet,
    strided_stem,
    token_encoder,
    unet,
    vit,
)

__all__ = [
    "PatchTokenizer",
    "TokenEncoder",
    "VisionTransformer",
    "cifar_stem",
    "conv_decoder",
    "conv_encoder",
    "dcgan_discriminator",
    "dcgan_generator",
    "diffusion_unet",
    "gat",
    "gcn",
    "gin",
    "graphsage",
    "imagenet_stem",
    "resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_resnet",
    "strided_stem",
    "to_keras",
    "token_encoder",
    "unet",
    "vit",
]
