"""Pretext tasks: targets that are made of the data itself."""

from keras_ssl.trainers.pretext.colorization import Colorization
from keras_ssl.trainers.pretext.context_encoder import ContextEncoder
from keras_ssl.trainers.pretext.jigsaw_puzzle import JigsawPuzzle
from keras_ssl.trainers.pretext.relative_patch_position import RelativePatchPosition
from keras_ssl.trainers.pretext.rotation_prediction import RotationPrediction

__all__ = [
    "Colorization",
    "ContextEncoder",
    "JigsawPuzzle",
    "RelativePatchPosition",
    "RotationPrediction",
]
