"""Encoders as ready Keras models."""

from keras_ssl.networks.graph.gat import gat
from keras_ssl.networks.graph.gcn import gcn
from keras_ssl.networks.graph.gin import gin
from keras_ssl.networks.graph.graphsage import graphsage
from keras_ssl.networks.vision.resnet import resnet, resnet18, resnet34, resnet50, small_resnet
from keras_ssl.networks.vision.stems import cifar_stem, imagenet_stem, strided_stem

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
