"""Augmentation of tables."""

from keras_ssl.augment.tabular.random_feature_corruption import RandomFeatureCorruption
from keras_ssl.augment.tabular.random_feature_noise import RandomFeatureNoise
from keras_ssl.augment.tabular.random_marginal_corruption import RandomMarginalCorruption
from keras_ssl.augment.tabular.random_mask import RandomMask

__all__ = [
    "RandomFeatureCorruption",
    "RandomFeatureNoise",
    "RandomMarginalCorruption",
    "RandomMask",
]
