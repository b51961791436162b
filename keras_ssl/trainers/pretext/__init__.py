"""Pretext tasks: targets that are made of the data itself."""

from keras_ssl.trainers.pretext.colorization import Colorization
from keras_ssl.trainers.pretext.context_encoder import ContextEncoder
from keras_ssl.trainers.pretext.jigsaw_puzzle import JigsawPuzzle
from keras_ssl.trainers.pretext.masked_series import MaskedSeries
from keras_ssl.trainers.pretext.relative_patch_position import RelativePatchPosition
from keras_ssl.trainers.pretext.rotation_prediction import RotationPrediction
from keras_ssl.trainers.pretext.scarf import SCARF
from keras_ssl.trainers.pretext.temporal_order import TemporalOrder
from keras_ssl.trainers.pretext.vime import VIME

__all__ = [
    "SCARF",
    "VIME",
    "Colorization",
    "ContextEncoder",
    "JigsawPuzzle",
    "MaskedSeries",
    "RelativePatchPosition",
    "RotationPrediction",
    "TemporalOrder",
]
