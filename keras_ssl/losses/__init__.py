"""Losses of self-supervised methods, each a `keras.losses.Loss` and usable on its own."""

from keras_ssl.losses.barlow_twins import BarlowTwins, barlow_twins
from keras_ssl.losses.clip_loss import CLIPLoss, clip_loss
from keras_ssl.losses.cpc import CPC, cpc
from keras_ssl.losses.dcl import DCL, dcl
from keras_ssl.losses.dclw import DCLW, dclw
from keras_ssl.losses.dino import DINO, dino
from keras_ssl.losses.info_nce import InfoNCE, info_nce
from keras_ssl.losses.info_nce_mi import InfoNCEMI, info_nce_mi
from keras_ssl.losses.jensen_shannon_mi import JensenShannonMI, jensen_shannon_mi
from keras_ssl.losses.msn import MSN, msn
from keras_ssl.losses.nce import NCE, nce
from keras_ssl.losses.negative_cosine_similarity import (
    NegativeCosineSimilarity,
    negative_cosine_similarity,
)
from keras_ssl.losses.nt_xent import NTXent, nt_xent
from keras_ssl.losses.scaled_cosine_error import ScaledCosineError, scaled_cosine_error
from keras_ssl.losses.sinkhorn_knopp import sinkhorn_knopp
from keras_ssl.losses.sup_con import SupCon, sup_con
from keras_ssl.losses.swav import SwAV, swav
from keras_ssl.losses.vicreg import VICReg, vicreg, vicreg_terms

__all__ = [
    "CPC",
    "DCL",
    "DCLW",
    "DINO",
    "MSN",
    "NCE",
    "BarlowTwins",
    "CLIPLoss",
    "InfoNCE",
    "InfoNCEMI",
    "JensenShannonMI",
    "NTXent",
    "NegativeCosineSimilarity",
    "ScaledCosineError",
    "SupCon",
    "SwAV",
    "VICReg",
    "barlow_twins",
    "clip_loss",
    "cpc",
    "dcl",
    "dclw",
    "dino",
    "info_nce",
    "info_nce_mi",
    "jensen_shannon_mi",
    "msn",
    "nce",
    "negative_cosine_similarity",
    "nt_xent",
    "scaled_cosine_error",
    "sinkhorn_knopp",
    "sup_con",
    "swav",
    "vicreg",
    "vicreg_terms",
]
