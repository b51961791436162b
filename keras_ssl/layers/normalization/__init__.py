"""Normalization layers."""

from keras_ssl.layers.normalization.sync_batch_normalization import SyncBatchNormalization

__all__ = ["SyncBatchNormalization"]
