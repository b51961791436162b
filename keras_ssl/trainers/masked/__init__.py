"""Methods that predict hidden patches of images, or their representation."""

from keras_ssl.trainers.masked.mae import MAE

__all__ = ["MAE"]
