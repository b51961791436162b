"""Encoders of images."""

from keras_ssl.networks.vision.patch_tokenizer import PatchTokenizer
from keras_ssl.networks.vision.resnet import resnet, resnet18, resnet34, resnet50, small_resnet
from keras_ssl.networks.vision.stems import cifar_stem, imagenet_stem, strided_stem
from keras_ssl.networks.vision.token_encoder import TokenEncoder, token_encoder
from keras_ssl.networks.vision.unet import unet
from keras_ssl.networks.vision.vit import VisionTransformer, vit

__all__ = [
    "PatchTokenizer",
    "TokenEncoder",
    "VisionTransformer",
    "cifar_stem",
    "imagenet_stem",
    "resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_resnet",
    "strided_stem",
    "token_encoder",
    "unet",
    "vit",
]
