"""Noise and factors for time series."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment._tensors import float_dtypes
from keras_ssl.augment.sequence._base import SequenceAugmentation


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomJitter(SequenceAugmentation):
    """Gaussian noise on every value of a sequence, as sensors add it.

        x' = x + e,   e ~ N(0, stddev^2)

    Args:
        stddev: standard deviation of the noise, in the units of the inputs.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of sequences. Padded steps get noise as well.
        training: whether to add noise.

    Input shape:
        `(batch, time)` or `(batch, time, features)`, integer or floating-point.

    Output shape:
        That of the inputs, in their dtype; integers become float32.

    Raises:
        ValueError: if `stddev` is negative.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> noise = augment.sequence.RandomJitter(0.05, seed=0)(np.zeros((2, 100, 3)))
    >>> round(float(np.std(noise)), 2)
    0.05

    Reference:
        - [Um et al., Data Augmentation of Wearable Sensor Data for Parkinson's Disease Monitoring
          using Convolutional Neural Networks](https://arxiv.org/abs/1706.00527)
    """

    def __init__(self, stddev: float = 0.05, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.stddev = checks.number("stddev", stddev, 0.0)

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """Noise of standard deviation 1: `noise`, float32, in the shape of the inputs."""
        return {"noise": self.normal(ops.shape(inputs), seed)}

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Add given noise."""
        computed, returned = float_dtypes(inputs)
        noise = self.stddev * ops.cast(parameters["noise"], computed)
        return ops.cast(ops.cast(inputs, computed) + noise, returned)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "stddev": self.stddev}


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomScale(SequenceAugmentation):
    """A sequence multiplied by a random factor, one per feature.

        x'[t, j] = f[j] x[t, j],   f ~ N(1, stddev^2)

    Args:
        stddev: standard deviation of the factor.
        per_feature: whether each feature has its own factor, or all features of a sequence share
            one.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of sequences. Steps padded with 0 stay 0.
        training: whether to scale.

    Input shape:
        `(batch, time)` or `(batch, time, features)`, integer or floating-point.

    Output shape:
        That of the inputs, in their dtype; integers become float32.

    Raises:
        ValueError: if `stddev` is negative.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> scaled = augment.sequence.RandomScale(0.1, seed=0)(np.ones((2, 50, 3)))
    >>> bool(np.ptp(scaled, axis=1).max() == 0)  # one factor for all steps
    True

    Reference:
        - [Um et al., Data Augmentation of Wearable Sensor Data for Parkinson's Disease Monitoring
          using Convolutional Neural Networks](https://arxiv.org/abs/1706.00527)
    """

    def __init__(
        self,
        stddev: float = 0.1,
        per_feature: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.stddev = checks.number("stddev", stddev, 0.0)
        self.per_feature = bool(per_feature)

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """The factors: `factor`, float32 `(batch, 1)` or `(batch, 1, features or 1)`."""
        batch, _, *features = ops.shape(inputs)
        features = features if self.per_feature else [1] * len(features)
        return {"factor": 1.0 + self.stddev * self.normal((batch, 1, *features), seed)}

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Multiply by given factors."""
        computed, returned = float_dtypes(inputs)
        factor = ops.cast(parameters["factor"], computed)
        return ops.cast(ops.cast(inputs, computed) * factor, returned)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "stddev": self.stddev, "per_feature": self.per_feature}
