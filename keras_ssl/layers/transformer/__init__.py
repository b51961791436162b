"""Blocks of transformers and their parts."""

from keras_ssl.layers.transformer.adaptive_block import AdaptiveTransformerBlock
from keras_ssl.layers.transformer.blocks import TransformerDecoderBlock, TransformerEncoderBlock
from keras_ssl.layers.transformer.cross_token_decoder import CrossTokenDecoder
from keras_ssl.layers.transformer.feed_forward import DropPath, FeedForward, LayerScale
from keras_ssl.layers.transformer.mixture_of_experts import MixtureOfExperts
from keras_ssl.layers.transformer.token_decoder import TokenDecoder

__all__ = [
    "AdaptiveTransformerBlock",
    "CrossTokenDecoder",
    "DropPath",
    "FeedForward",
    "LayerScale",
    "MixtureOfExperts",
    "TokenDecoder",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
]
