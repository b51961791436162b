"""Augmentation of sequences: time series, spectrograms, tokens."""

from keras_ssl.augment.sequence.masks import RandomChannelMask, RandomFrequencyMask, RandomTimeMask
from keras_ssl.augment.sequence.random_jitter import RandomJitter, RandomScale
from keras_ssl.augment.sequence.random_segment_permutation import RandomSegmentPermutation
from keras_ssl.augment.sequence.random_time_crop import RandomTimeCrop
from keras_ssl.augment.sequence.random_time_warp import RandomTimeWarp
from keras_ssl.augment.sequence.spec_augment import SpecAugment

__all__ = [
    "RandomChannelMask",
    "RandomFrequencyMask",
    "RandomJitter",
    "RandomScale",
    "RandomSegmentPermutation",
    "RandomTimeCrop",
    "RandomTimeMask",
    "RandomTimeWarp",
    "SpecAugment",
]
