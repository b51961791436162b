"""Methods that predict hidden patches of images, or their representation."""

from keras_ssl.trainers.masked.aim import AIM
from keras_ssl.trainers.masked.data2vec import Data2Vec
from keras_ssl.trainers.masked.ijepa import IJEPA
from keras_ssl.trainers.masked.mae import MAE
from keras_ssl.trainers.masked.simmim import SimMIM

__all__ = ["AIM", "IJEPA", "MAE", "Data2Vec", "SimMIM"]
