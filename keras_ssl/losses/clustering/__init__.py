"""Losses that compare assignments to prototypes."""

from keras_ssl.losses.clustering.dino import DINOLoss, dino
from keras_ssl.losses.clustering.msn import MSNLoss, msn
from keras_ssl.losses.clustering.pmsn import PMSNLoss, pmsn
from keras_ssl.losses.clustering.sinkhorn_knopp import sinkhorn_knopp
from keras_ssl.losses.clustering.swav import SwAVLoss, swav
from keras_ssl.losses.clustering.token_distillation import TokenDistillation, token_distillation

__all__ = [
    "DINOLoss",
    "MSNLoss",
    "PMSNLoss",
    "SwAVLoss",
    "TokenDistillation",
    "dino",
    "msn",
    "pmsn",
    "sinkhorn_knopp",
    "swav",
    "token_distillation",
]
