"""Layers for self-supervised learning that Keras lacks."""

from keras_ssl.layers import graph
from keras_ssl.layers.heads import (
    BilinearCritic,
    ConcatAndConvolve,
    EncodeAndDotProduct,
    PredictionHead,
    ProjectionHead,
    ResidualHead,
    StepPredictor,
)
from keras_ssl.layers.memory import Center, FeatureQueue, MemoryBank, Prototypes
from keras_ssl.layers.normalization import SyncBatchNormalization
from keras_ssl.layers.tokens import MaskedContext, MaskToken, PatchGrid

__all__ = [
    "BilinearCritic",
    "Center",
    "ConcatAndConvolve",
    "EncodeAndDotProduct",
    "FeatureQueue",
    "MaskToken",
    "MaskedContext",
    "MemoryBank",
    "PatchGrid",
    "PredictionHead",
    "ProjectionHead",
    "Prototypes",
    "ResidualHead",
    "StepPredictor",
    "SyncBatchNormalization",
    "graph",
]
