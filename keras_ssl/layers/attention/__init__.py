"""Attention, and the positions of tokens."""

from keras_ssl.layers.attention.attention_pooling import (
    AdditiveAttentionPooling,
    AttentionPooling,
)
from keras_ssl.layers.attention.multi_head_attention import MultiHeadAttention
from keras_ssl.layers.attention.positions import (
    LearnedPositionalEmbedding,
    RelativePositionBias,
    RotaryEmbedding,
    SinusoidalPositionalEncoding,
)

__all__ = [
    "AdditiveAttentionPooling",
    "AttentionPooling",
    "LearnedPositionalEmbedding",
    "MultiHeadAttention",
    "RelativePositionBias",
    "RotaryEmbedding",
    "SinusoidalPositionalEncoding",
]
