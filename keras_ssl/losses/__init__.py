"""Losses of self-supervised methods, each a `keras.losses.Loss` and usable on its own."""

from keras_ssl.losses.clip_loss import CLIPLoss, clip_loss
from keras_ssl.losses.info_nce import InfoNCE, info_nce
from keras_ssl.losses.nt_xent import NTXent, nt_xent

__all__ = ["CLIPLoss", "InfoNCE", "NTXent", "clip_loss", "info_nce", "nt_xent"]
