"""Contrastive methods: agree with your own views, disagree with others'."""

from keras_ssl.trainers.contrastive.moco import MoCo
from keras_ssl.trainers.contrastive.moco_v3 import MoCoV3
from keras_ssl.trainers.contrastive.simclr import SimCLR

__all__ = ["MoCo", "MoCoV3", "SimCLR"]
