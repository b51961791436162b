"""Losses of predicted log-probabilities."""

from keras_ssl.losses.probability.log_space_kl_divergence import (
    LogSpaceKLDivergence,
    log_space_kl_divergence,
)
from keras_ssl.losses.probability.negative_log_likelihood import (
    NegativeLogLikelihood,
    negative_log_likelihood,
)

__all__ = [
    "LogSpaceKLDivergence",
    "NegativeLogLikelihood",
    "log_space_kl_divergence",
    "negative_log_likelihood",
]
