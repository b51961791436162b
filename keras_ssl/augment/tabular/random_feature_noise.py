"""Noise in the scale of each feature."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment._tensors import float_dtypes
from keras_ssl.augment.tabular._base import TabularAugmentation, batch_mean


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomFeatureNoise(TabularAugmentation):
    """Gaussian noise in proportion to each feature's standard deviation in the batch.

        x' = x + stddev * std(x) * e,   e ~ N(0, 1)

    `keras.layers.GaussianNoise` adds noise of one standard deviation to all features, which fits
    only features of one scale, and draws the same noise on every replica.

    Args:
        stddev: standard deviation of the noise, as a multiple of the feature's own.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of rows.
        training: whether to add noise.

    Input shape:
        `(batch, features)`, integer or floating-point.

    Output shape:
        That of the inputs, in their dtype; integers become float32.

    Raises:
        ValueError: if `stddev` is negative.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> table = np.array([[1.0, 7.0], [3.0, 7.0]])
    >>> noisy = augment.tabular.RandomFeatureNoise(0.1)(table)
    >>> noisy[:, 1].numpy().tolist()  # a constant feature stays constant
    [7.0, 7.0]
    """

    def __init__(self, stddev: float = 0.1, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.stddev = checks.number("stddev", stddev, 0.0)

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """Noise of standard deviation 1: `noise`, float32 `(batch, features)`."""
        return {"noise": self.normal(ops.shape(inputs), seed)}

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Add given noise in the scale of the features."""
        computed, returned = float_dtypes(inputs)
        x = ops.cast(inputs, computed)
        deviation = ops.sqrt(batch_mean(ops.square(x - batch_mean(x))))
        noise = self.stddev * deviation * ops.cast(parameters["noise"], computed)
        return ops.cast(x + noise, returned)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "stddev": self.stddev}
