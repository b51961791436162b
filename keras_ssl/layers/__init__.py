"""Layers for self-supervised learning that Keras lacks."""

from keras_ssl.layers import graph
from keras_ssl.layers.activation import KSparse
from keras_ssl.layers.attention import (
    AttentionPooling,
    LearnedPositionalEmbedding,
    MultiHeadAttention,
    RelativePositionBias,
    RotaryEmbedding,
    SinusoidalPositionalEncoding,
)
from keras_ssl.layers.diffusion import TimeEmbedding
from keras_ssl.layers.heads import (
    BilinearCritic,
    ConcatAndConvolve,
    EncodeAndDotProduct,
    PredictionHead,
    ProjectionHead,
    ResidualHead,
    ResidualMLPHead,
    StepPredictor,
)
from keras_ssl.layers.memory import (
    Center,
    FeatureQueue,
    MemoryBank,
    Prototypes,
    SinkhornCenter,
    VectorQuantizer,
)
from keras_ssl.layers.normalization import GroupNormalization, SyncBatchNormalization
from keras_ssl.layers.tokens import (
    BlockMasking,
    ClassToken,
    MaskedContext,
    MaskToken,
    MultiBlockMasking,
    PatchEmbedding,
    PatchGrid,
    RandomMasking,
    RandomPrefix,
    RegisterTokens,
)
from keras_ssl.layers.transformer import (
    AdaptiveTransformerBlock,
    DropPath,
    FeedForward,
    LayerScale,
    TokenDecoder,
    TransformerDecoderBlock,
    TransformerEncoderBlock,
)

__all__ = [
    "AdaptiveTransformerBlock",
    "AttentionPooling",
    "BilinearCritic",
    "BlockMasking",
    "Center",
    "ClassToken",
    "ConcatAndConvolve",
    "DropPath",
    "EncodeAndDotProduct",
    "FeatureQueue",
    "FeedForward",
    "GroupNormalization",
    "KSparse",
    "LayerScale",
    "LearnedPositionalEmbedding",
    "MaskToken",
    "MaskedContext",
    "MemoryBank",
    "MultiBlockMasking",
    "MultiHeadAttention",
    "PatchEmbedding",
    "PatchGrid",
    "PredictionHead",
    "ProjectionHead",
    "Prototypes",
    "RandomMasking",
    "RandomPrefix",
    "RegisterTokens",
    "RelativePositionBias",
    "ResidualHead",
    "ResidualMLPHead",
    "RotaryEmbedding",
    "SinkhornCenter",
    "SinusoidalPositionalEncoding",
    "StepPredictor",
    "SyncBatchNormalization",
    "TimeEmbedding",
    "TokenDecoder",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
    "VectorQuantizer",
    "graph",
]
