"""Methods that learn from pairs of two modalities, such as images and texts."""

from keras_ssl.trainers.multimodal.clip import CLIP, SigLIP
from keras_ssl.trainers.multimodal.cross_modal import CrossModal
from keras_ssl.trainers.multimodal.tower import Tower

__all__ = ["CLIP", "CrossModal", "SigLIP", "Tower"]
