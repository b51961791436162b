"""Blocks of transformers and their parts."""

from keras_ssl.layers.transformer.blocks import TransformerDecoderBlock, TransformerEncoderBlock
from keras_ssl.layers.transformer.feed_forward import DropPath, FeedForward, LayerScale

__all__ = [
    "DropPath",
    "FeedForward",
    "LayerScale",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
]
