"""Layers of networks that denoise."""

from keras_ssl.layers.diffusion.time_embedding import TimeEmbedding

__all__ = ["TimeEmbedding"]
