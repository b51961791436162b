"""Distillation: predict the output of a teacher network or of another view."""

from keras_ssl.trainers.distillation.byol import BYOL
from keras_ssl.trainers.distillation.dino import DINO
from keras_ssl.trainers.distillation.knowledge_distillation import KnowledgeDistillation
from keras_ssl.trainers.distillation.msn import MSN
from keras_ssl.trainers.distillation.pmsn import PMSN
from keras_ssl.trainers.distillation.simsiam import SimSiam

__all__ = ["BYOL", "DINO", "MSN", "PMSN", "KnowledgeDistillation", "SimSiam"]
