"""Layers on patches of images and on tokens, segments and grids of features."""

from keras_ssl.layers.tokens.block_masking import BlockMasking, InverseBlockMasking
from keras_ssl.layers.tokens.class_token import ClassToken, RegisterTokens
from keras_ssl.layers.tokens.mask_token import MaskToken
from keras_ssl.layers.tokens.masked_context import MaskedContext
from keras_ssl.layers.tokens.multi_block_masking import MultiBlockMasking
from keras_ssl.layers.tokens.patch_embedding import PatchEmbedding
from keras_ssl.layers.tokens.patch_grid import PatchGrid
from keras_ssl.layers.tokens.random_masking import RandomMasking, RandomPrefix
from keras_ssl.layers.tokens.segment_embedding import SegmentEmbedding

__all__ = [
    "BlockMasking",
    "ClassToken",
    "InverseBlockMasking",
    "MaskToken",
    "MaskedContext",
    "MultiBlockMasking",
    "PatchEmbedding",
    "PatchGrid",
    "RandomMasking",
    "RandomPrefix",
    "RegisterTokens",
    "SegmentEmbedding",
]
