"""Losses of predicted vectors and their targets."""

from keras_ssl.losses.regression.negative_cosine_similarity import (
    NegativeCosineSimilarity,
    negative_cosine_similarity,
)
from keras_ssl.losses.regression.scaled_cosine_error import ScaledCosineError, scaled_cosine_error
from keras_ssl.losses.regression.smooth_l1 import SmoothL1, smooth_l1

__all__ = [
    "NegativeCosineSimilarity",
    "ScaledCosineError",
    "SmoothL1",
    "negative_cosine_similarity",
    "scaled_cosine_error",
    "smooth_l1",
]
