"""Redundancy reduction: embeddings invariant to augmentation, with decorrelated features."""

from keras_ssl.trainers.redundancy.barlow_twins import BarlowTwins
from keras_ssl.trainers.redundancy.frossl import FroSSL
from keras_ssl.trainers.redundancy.lejepa import LeJEPA
from keras_ssl.trainers.redundancy.mmcr import MMCR
from keras_ssl.trainers.redundancy.tico import TiCo
from keras_ssl.trainers.redundancy.vicreg import VICReg
from keras_ssl.trainers.redundancy.vicregl import VICRegL
from keras_ssl.trainers.redundancy.w_mse import WMSE

__all__ = ["MMCR", "WMSE", "BarlowTwins", "FroSSL", "LeJEPA", "TiCo", "VICReg", "VICRegL"]
