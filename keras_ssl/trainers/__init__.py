"""Methods as `keras.Model`s that train themselves on unlabelled data."""

from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.clustering import DeepClusterV2, SwAV
from keras_ssl.trainers.contrastive import (
    CPC,
    NNCLR,
    DeepInfoMax,
    InstanceDiscrimination,
    MoCo,
    MoCoV3,
    SequenceCPC,
    SimCLR,
    SupCon,
)
from keras_ssl.trainers.distillation import BYOL, DINO, MSN, KnowledgeDistillation, SimSiam
from keras_ssl.trainers.engine.fit import DistributedFit
from keras_ssl.trainers.generative import (
    GAN,
    VAE,
    VQVAE,
    Autoencoder,
    ClassifierGuidance,
    DenoiserFeatures,
    Diffusion,
    FlowMatching,
    LatentDiffusion,
    Latents,
    MomentMatching,
    SparseAutoencoder,
)
from keras_ssl.trainers.graph import BGRL, DGI, GAE, GRACE, VGAE, GraphMAE, InfoGraph, Node2Vec
from keras_ssl.trainers.masked import (
    AIM,
    IJEPA,
    MAE,
    VQKD,
    BEiT,
    BEiTv2,
    Data2Vec,
    DINOv2,
    SimMIM,
    iBOT,
)
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.probe import OnlineProbe
from keras_ssl.trainers.redundancy import BarlowTwins, VICReg
from keras_ssl.trainers.step import Batch, Update
from keras_ssl.trainers.teacher import EMATeacher

__all__ = [
    "AIM",
    "BGRL",
    "BYOL",
    "CPC",
    "DGI",
    "DINO",
    "GAE",
    "GAN",
    "GRACE",
    "IJEPA",
    "MAE",
    "MSN",
    "NNCLR",
    "VAE",
    "VGAE",
    "VQKD",
    "VQVAE",
    "Autoencoder",
    "BEiT",
    "BEiTv2",
    "BarlowTwins",
    "Batch",
    "ClassifierGuidance",
    "DINOv2",
    "Data2Vec",
    "DeepClusterV2",
    "DeepInfoMax",
    "DenoiserFeatures",
    "Diffusion",
    "DistributedFit",
    "EMATeacher",
    "FlowMatching",
    "GraphMAE",
    "InfoGraph",
    "InstanceDiscrimination",
    "KnowledgeDistillation",
    "LatentDiffusion",
    "Latents",
    "MoCo",
    "MoCoV3",
    "MomentMatching",
    "Node2Vec",
    "OnlineProbe",
    "SelfSupervisedModel",
    "SequenceCPC",
    "SimCLR",
    "SimMIM",
    "SimSiam",
    "SparseAutoencoder",
    "SupCon",
    "SwAV",
    "Update",
    "VICReg",
    "iBOT",
    "serialize_parts",
]
