"""Encoders as ready Keras models."""

from keras_ssl.networks.gat import gat
from keras_ssl.networks.gcn import gcn
from keras_ssl.networks.gin import gin
from keras_ssl.networks.graphsage import graphsage
from keras_ssl.networks.resnet import resnet, resnet18, resnet34, resnet50, small_resnet
from keras_ssl.networks.stems import cifar_stem, imagenet_stem, strided_stem

__all__ = [
    "cifar_stem",
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
]
