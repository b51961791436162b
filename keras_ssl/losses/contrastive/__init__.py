"""Losses that compare positives with negatives."""

from keras_ssl.losses.contrastive.clip_loss import CLIPLoss, clip_loss
from keras_ssl.losses.contrastive.cpc import CPCLoss, cpc
from keras_ssl.losses.contrastive.dcl import DCL, DCLW, dcl, dclw
from keras_ssl.losses.contrastive.info_nce import InfoNCE, info_nce
from keras_ssl.losses.contrastive.mutual_information import (
    InfoNCEMI,
    JensenShannonMI,
    info_nce_mi,
    jensen_shannon_mi,
)
from keras_ssl.losses.contrastive.nce import NCE, nce
from keras_ssl.losses.contrastive.neg import NEG, neg
from keras_ssl.losses.contrastive.nt_xent import NTXent, nt_xent
from keras_ssl.losses.contrastive.sig_lip import SigLIPLoss, sig_lip
from keras_ssl.losses.contrastive.sup_con import SupConLoss, sup_con

__all__ = [
    "DCL",
    "DCLW",
    "NCE",
    "NEG",
    "CLIPLoss",
    "CPCLoss",
    "InfoNCE",
    "InfoNCEMI",
    "JensenShannonMI",
    "NTXent",
    "SigLIPLoss",
    "SupConLoss",
    "clip_loss",
    "cpc",
    "dcl",
    "dclw",
    "info_nce",
    "info_nce_mi",
    "jensen_shannon_mi",
    "nce",
    "neg",
    "nt_xent",
    "sig_lip",
    "sup_con",
]
