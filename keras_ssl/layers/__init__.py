"""Building blocks that Keras lacks."""

from keras_ssl.layers import graph
from keras_ssl.layers.heads.bilinear_critic import BilinearCritic
from keras_ssl.layers.heads.concat_and_convolve import ConcatAndConvolve
from keras_ssl.layers.heads.encode_and_dot_product import EncodeAndDotProduct
from keras_ssl.layers.heads.prediction_head import PredictionHead
from keras_ssl.layers.heads.projection_head import ProjectionHead
from keras_ssl.layers.heads.residual_head import ResidualHead
from keras_ssl.layers.heads.step_predictor import StepPredictor
from keras_ssl.layers.memory.center import Center
from keras_ssl.layers.memory.feature_queue import FeatureQueue
from keras_ssl.layers.memory.memory_bank import MemoryBank
from keras_ssl.layers.memory.prototypes import Prototypes
from keras_ssl.layers.normalization.sync_batch_normalization import SyncBatchNormalization
from keras_ssl.layers.tokens.mask_token import MaskToken
from keras_ssl.layers.tokens.masked_context import MaskedContext
from keras_ssl.layers.tokens.patch_grid import PatchGrid

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
