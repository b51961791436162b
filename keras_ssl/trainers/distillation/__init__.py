"""Self-distillation: predict what another branch says of another view."""

from keras_ssl.trainers.distillation.byol import BYOL
from keras_ssl.trainers.distillation.dino import DINO
from keras_ssl.trainers.distillation.simsiam import SimSiam

__all__ = ["BYOL", "DINO", "SimSiam"]
