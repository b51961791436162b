"""Building blocks that Keras lacks."""

from keras_ssl.layers import graph
from keras_ssl.layers.bilinear_critic import BilinearCritic
from keras_ssl.layers.center import Center
from keras_ssl.layers.concat_and_convolve import ConcatAndConvolve
from keras_ssl.layers.encode_and_dot_product import EncodeAndDotProduct
from keras_ssl.layers.feature_queue import FeatureQueue
from keras_ssl.layers.mask_token import MaskToken
from keras_ssl.layers.masked_context import MaskedContext
from keras_ssl.layers.memory_bank import MemoryBank
from keras_ssl.layers.patch_grid import PatchGrid
from keras_ssl.layers.prediction_head import PredictionHead
from keras_ssl.layers.projection_head import ProjectionHead
from keras_ssl.layers.prototypes import Prototypes
from keras_ssl.layers.residual_head import ResidualHead
from keras_ssl.layers.step_predictor import StepPredictor
from keras_ssl.layers.sync_batch_normalization import SyncBatchNormalization

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
