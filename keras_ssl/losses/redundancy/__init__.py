"""Losses that reduce the redundancy of features."""

from keras_ssl.losses.redundancy.barlow_twins import BarlowTwinsLoss, barlow_twins
from keras_ssl.losses.redundancy.frossl import FroSSLLoss, frossl
from keras_ssl.losses.redundancy.ko_leo import KoLeo, ko_leo
from keras_ssl.losses.redundancy.lejepa import LeJEPALoss, lejepa, sig_reg
from keras_ssl.losses.redundancy.mmcr import MMCRLoss, mmcr
from keras_ssl.losses.redundancy.tico import TiCoLoss, tico
from keras_ssl.losses.redundancy.vicreg import VICRegLoss, vicreg, vicreg_terms
from keras_ssl.losses.redundancy.vicregl import VICRegLLoss, vicregl_terms
from keras_ssl.losses.redundancy.w_mse import WMSELoss, w_mse

__all__ = [
    "BarlowTwinsLoss",
    "FroSSLLoss",
    "KoLeo",
    "LeJEPALoss",
    "MMCRLoss",
    "TiCoLoss",
    "VICRegLLoss",
    "VICRegLoss",
    "WMSELoss",
    "barlow_twins",
    "frossl",
    "ko_leo",
    "lejepa",
    "mmcr",
    "sig_reg",
    "tico",
    "vicreg",
    "vicreg_terms",
    "vicregl_terms",
    "w_mse",
]
