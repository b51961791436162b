"""Losses that compare assignments to prototypes."""

from keras_ssl.losses.clustering.capi import CAPILoss, capi, positionwise_sinkhorn_knopp
from keras_ssl.losses.clustering.dino import DINOLoss, dino
from keras_ssl.losses.clustering.msn import MSNLoss, msn
from keras_ssl.losses.clustering.pmsn import PMSNLoss, pmsn
from keras_ssl.losses.clustering.sinkhorn_knopp import sinkhorn_knopp
from keras_ssl.losses.clustering.swav import SwAVLoss, swav
from keras_ssl.losses.clustering.token_distillation import TokenDistillation, token_distillation

__all__ = [
    "CAPILoss",
    "DINOLoss",
    "MSNLoss",
    "PMSNLoss",
    "SwAVLoss",
    "TokenDistillation",
    "capi",
    "dino",
    "msn",
    "pmsn",
    "positionwise_sinkhorn_knopp",
    "sinkhorn_knopp",
    "swav",
    "token_distillation",
]
