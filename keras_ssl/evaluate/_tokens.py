"""Tokens of encoders of patches, and their scale."""

from typing import Any

import keras
import numpy as np

from keras_ssl.networks import TokenEncoder


class PatchTokens(keras.layers.Layer):
    """The tokens that an encoder makes of patches.

    Args:
        encoder: the encoder.
    """

    def __init__(self, encoder: TokenEncoder):
        super().__init__(name="patch_tokens", dtype=encoder.dtype_policy)
        self.encoder = encoder
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.encoder(images, return_intermediates=True, training=training)["patch_tokens"]


def mean_and_scale(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each feature, 1 where it is constant, in float64."""
    mean = tokens.mean((0, 1), dtype="float64")
    # one example at a time, since `np.std` makes a float64 copy of all
    variance = sum(np.square(one - mean).mean(axis=0) for one in tokens) / len(tokens)
    return mean, np.where(variance > 0, np.sqrt(variance), 1.0)
