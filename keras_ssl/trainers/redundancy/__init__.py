"""Redundancy reduction: embeddings invariant to augmentation, with decorrelated features."""

from keras_ssl.trainers.redundancy.barlow_twins import BarlowTwins
from keras_ssl.trainers.redundancy.vicreg import VICReg

__all__ = ["BarlowTwins", "VICReg"]
