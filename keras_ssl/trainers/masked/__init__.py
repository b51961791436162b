"""Methods that predict hidden patches of images, or their representation."""

from keras_ssl.trainers.masked.aim import AIM
from keras_ssl.trainers.masked.beit import BEiT
from keras_ssl.trainers.masked.beit_v2 import BEiTv2
from keras_ssl.trainers.masked.capi import CAPI
from keras_ssl.trainers.masked.data2vec import Data2Vec
from keras_ssl.trainers.masked.dino_v2 import DINOv2
from keras_ssl.trainers.masked.ibot import iBOT
from keras_ssl.trainers.masked.ijepa import IJEPA
from keras_ssl.trainers.masked.mae import MAE
from keras_ssl.trainers.masked.simmim import SimMIM
from keras_ssl.trainers.masked.vqkd import VQKD

__all__ = [
    "AIM",
    "CAPI",
    "IJEPA",
    "MAE",
    "VQKD",
    "BEiT",
    "BEiTv2",
    "DINOv2",
    "Data2Vec",
    "SimMIM",
    "iBOT",
]
