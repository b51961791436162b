"""Encoders of images."""

from keras_ssl.networks.vision.resnet import resnet, resnet18, resnet34, resnet50, small_resnet
from keras_ssl.networks.vision.stems import cifar_stem, imagenet_stem, strided_stem

__all__ = [
    "cifar_stem",
    "imagenet_stem",
    "resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_resnet",
    "strided_stem",
]
