"""SpecAugment."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.augment.sequence._base import FeatureSequenceAugmentation, check_length
from keras_ssl.augment.sequence.masks import RandomFrequencyMask, RandomTimeMask
from keras_ssl.augment.sequence.random_time_warp import RandomTimeWarp


@keras.saving.register_keras_serializable(package="keras_ssl")
class SpecAugment(FeatureSequenceAugmentation):
    """SpecAugment for spectrograms: time warping, frequency masks and time masks.

    The three are `RandomTimeWarp`, `RandomFrequencyMask` and `RandomTimeMask`, in this order. The
    defaults suit clips of any length; the paper's policy LD for LibriSpeech, with 80 frequencies
    and frames of 10 ms, is `SpecAugment(80, 27, 2, 100, 2)`.

    Masked values become `fill`. The paper masks with 0 in spectrograms normalised to mean 0.

    Args:
        time_warp: the farthest that a step may move: a number of steps (an integer) or a fraction
            of the sequence (a float). 0 turns warping off.
        frequency_length: widest frequency mask: a number of features or a fraction of them.
        frequency_count: frequency masks per spectrogram.
        time_length: longest time mask: a number of steps or a fraction of the sequence.
        time_count: time masks per spectrogram.
        fill: number that replaces masked values.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of spectrograms.
        training: whether to augment.

    Input shape:
        `(batch, time, features)`, integer or floating-point.

    Output shape:
        That of the inputs, in their dtype; with time warping, integers become float32.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> spec_augment = augment.sequence.SpecAugment(time_warp=8, time_length=20)
    >>> spec_augment(np.ones((4, 100, 40), "float32")).shape
    TensorShape([4, 100, 40])

    Reference:
        - [Park et al., SpecAugment: A Simple Data Augmentation Method for Automatic Speech
          Recognition](https://arxiv.org/abs/1904.08779)
    """

    def __init__(
        self,
        time_warp: int | float = 0.05,
        frequency_length: int | float = 0.3,
        frequency_count: int = 2,
        time_length: int | float = 0.2,
        time_count: int = 2,
        fill: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.time_warp = check_length("time_warp", time_warp)
        self.frequency_length = check_length("frequency_length", frequency_length)
        self.frequency_count = checks.integer("frequency_count", frequency_count, 1)
        self.time_length = check_length("time_length", time_length)
        self.time_count = checks.integer("time_count", time_count, 1)
        self.fill = checks.number("fill", fill)
        self.layers = [RandomTimeWarp(time_warp)] if time_warp else []
        self.layers += [
            RandomFrequencyMask(frequency_length, frequency_count, fill),
            RandomTimeMask(time_length, time_count, fill),
        ]

    def build(self, input_shape: tuple) -> None:
        """Mark the three layers as built; they have no weights."""
        for layer in self.layers:
            layer.build(input_shape)
        self.built = True

    def draw(self, inputs: Any, seed: Any = None) -> list:
        """The parameters of the three layers."""
        seed = self.seed_generator if seed is None else seed
        return [layer.draw(inputs, seed) for layer in self.layers]

    def apply(self, inputs: Any, parameters: list) -> Any:
        """Apply the three layers with given parameters."""
        for layer, drawn in zip(self.layers, parameters, strict=True):
            inputs = layer.apply(inputs, drawn)
        return inputs

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """No mask where time is warped."""
        return None if self.time_warp else previous_mask

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "time_warp": self.time_warp,
            "frequency_length": self.frequency_length,
            "frequency_count": self.frequency_count,
            "time_length": self.time_length,
            "time_count": self.time_count,
            "fill": self.fill,
        }
