"""Losses of self-supervised methods, each a `keras.losses.Loss` and usable on its own."""

from keras_ssl.losses.clustering.dino import DINOLoss, dino
from keras_ssl.losses.clustering.msn import MSNLoss, msn
from keras_ssl.losses.clustering.sinkhorn_knopp import sinkhorn_knopp
from keras_ssl.losses.clustering.swav import SwAVLoss, swav
from keras_ssl.losses.contrastive.clip_loss import CLIPLoss, clip_loss
from keras_ssl.losses.contrastive.cpc import CPCLoss, cpc
from keras_ssl.losses.contrastive.dcl import DCL, dcl
from keras_ssl.losses.contrastive.dclw import DCLW, dclw
from keras_ssl.losses.contrastive.info_nce import InfoNCE, info_nce
from keras_ssl.losses.contrastive.info_nce_mi import InfoNCEMI, info_nce_mi
from keras_ssl.losses.contrastive.jensen_shannon_mi import JensenShannonMI, jensen_shannon_mi
from keras_ssl.losses.contrastive.nce import NCE, nce
from keras_ssl.losses.contrastive.nt_xent import NTXent, nt_xent
from keras_ssl.losses.contrastive.sup_con import SupConLoss, sup_con
from keras_ssl.losses.redundancy.barlow_twins import BarlowTwinsLoss, barlow_twins
from keras_ssl.losses.redundancy.vicreg import VICRegLoss, vicreg, vicreg_terms
from keras_ssl.losses.regression.negative_cosine_similarity import (
    NegativeCosineSimilarity,
    negative_cosine_similarity,
)
from keras_ssl.losses.regression.scaled_cosine_error import ScaledCosineError, scaled_cosine_error

__all__ = [
    "DCL",
    "DCLW",
    "NCE",
    "BarlowTwinsLoss",
    "CLIPLoss",
    "CPCLoss",
    "DINOLoss",
    "InfoNCE",
    "InfoNCEMI",
    "JensenShannonMI",
    "MSNLoss",
    "NTXent",
    "NegativeCosineSimilarity",
    "ScaledCosineError",
    "SupConLoss",
    "SwAVLoss",
    "VICRegLoss",
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
