"""Pretext tasks: supervised tasks whose labels are made from the images themselves."""

from keras_ssl.trainers.pretext.jigsaw_puzzle import JigsawPuzzle
from keras_ssl.trainers.pretext.relative_patch_position import RelativePatchPosition
from keras_ssl.trainers.pretext.rotation_prediction import RotationPrediction

__all__ = ["JigsawPuzzle", "RelativePatchPosition", "RotationPrediction"]
