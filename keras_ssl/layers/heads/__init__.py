"""Projectors, predictors and critics."""

from keras_ssl.layers.heads.adaptive_log_softmax import AdaptiveLogSoftmax
from keras_ssl.layers.heads.critics import BilinearCritic, ConcatAndConvolve, EncodeAndDotProduct
from keras_ssl.layers.heads.logit_scale import LogitScale
from keras_ssl.layers.heads.projection_head import PredictionHead, ProjectionHead
from keras_ssl.layers.heads.residual_head import ResidualHead, ResidualMLPHead
from keras_ssl.layers.heads.step_predictor import StepPredictor

__all__ = [
    "AdaptiveLogSoftmax",
    "BilinearCritic",
    "ConcatAndConvolve",
    "EncodeAndDotProduct",
    "LogitScale",
    "PredictionHead",
    "ProjectionHead",
    "ResidualHead",
    "ResidualMLPHead",
    "StepPredictor",
]
