"""Losses of predicted vectors and their targets."""

from keras_ssl.losses.regression.negative_cosine_similarity import (
    NegativeCosineSimilarity,
    negative_cosine_similarity,
)
from keras_ssl.losses.regression.scaled_cosine_error import ScaledCosineError, scaled_cosine_error

__all__ = [
    "NegativeCosineSimilarity",
    "ScaledCosineError",
    "negative_cosine_similarity",
    "scaled_cosine_error",
]
