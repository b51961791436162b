"""Building blocks that Keras lacks."""

from keras_ssl.layers.projection_head import ProjectionHead
from keras_ssl.layers.sync_batch_normalization import SyncBatchNormalization

__all__ = ["ProjectionHead", "SyncBatchNormalization"]
