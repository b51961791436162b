"""Contrastive methods: the views of an example attract each other and repel other examples."""

from keras_ssl.trainers.contrastive.cpc import CPC, SequenceCPC
from keras_ssl.trainers.contrastive.deep_info_max import DeepInfoMax
from keras_ssl.trainers.contrastive.dense_cl import DenseCL
from keras_ssl.trainers.contrastive.instance_discrimination import InstanceDiscrimination
from keras_ssl.trainers.contrastive.moco import MoCo
from keras_ssl.trainers.contrastive.moco_v3 import MoCoV3
from keras_ssl.trainers.contrastive.nnclr import NNCLR
from keras_ssl.trainers.contrastive.simclr import SimCLR
from keras_ssl.trainers.contrastive.sup_con import SupCon
from keras_ssl.trainers.contrastive.tcl import TCL

__all__ = [
    "CPC",
    "NNCLR",
    "TCL",
    "DeepInfoMax",
    "DenseCL",
    "InstanceDiscrimination",
    "MoCo",
    "MoCoV3",
    "SequenceCPC",
    "SimCLR",
    "SupCon",
]
