"""Losses that reduce the redundancy of features."""

from keras_ssl.losses.redundancy.barlow_twins import BarlowTwinsLoss, barlow_twins
from keras_ssl.losses.redundancy.vicreg import VICRegLoss, vicreg, vicreg_terms

__all__ = ["BarlowTwinsLoss", "VICRegLoss", "barlow_twins", "vicreg", "vicreg_terms"]
