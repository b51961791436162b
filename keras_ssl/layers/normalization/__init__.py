"""Normalization layers."""

from keras_ssl.layers.normalization.group_normalization import GroupNormalization
from keras_ssl.layers.normalization.sync_batch_normalization import SyncBatchNormalization

__all__ = ["GroupNormalization", "SyncBatchNormalization"]
