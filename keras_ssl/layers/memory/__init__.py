"""Layers that hold embeddings of earlier batches, or vectors that embeddings are compared with."""

from keras_ssl.layers.memory.center import Center, SinkhornCenter
from keras_ssl.layers.memory.feature_queue import FeatureQueue
from keras_ssl.layers.memory.memory_bank import MemoryBank
from keras_ssl.layers.memory.moving_covariance import MovingCovariance
from keras_ssl.layers.memory.prototypes import Prototypes
from keras_ssl.layers.memory.vector_quantizer import VectorQuantizer

__all__ = [
    "Center",
    "FeatureQueue",
    "MemoryBank",
    "MovingCovariance",
    "Prototypes",
    "SinkhornCenter",
    "VectorQuantizer",
]
