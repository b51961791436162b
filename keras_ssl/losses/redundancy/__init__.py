"""Losses that reduce the redundancy of features."""

from keras_ssl.losses.redundancy.barlow_twins import BarlowTwinsLoss, barlow_twins
from keras_ssl.losses.redundancy.ko_leo import KoLeo, ko_leo
from keras_ssl.losses.redundancy.vicreg import VICRegLoss, vicreg, vicreg_terms

__all__ = [
    "BarlowTwinsLoss",
    "KoLeo",
    "VICRegLoss",
    "barlow_twins",
    "ko_leo",
    "vicreg",
    "vicreg_terms",
]
