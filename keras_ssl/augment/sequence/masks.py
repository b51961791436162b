"""Masks over time, frequencies and channels."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment._tensors import fill_where
from keras_ssl.augment.augmentation import Augmentation
from keras_ssl.augment.sequence._base import (
    FeatureSequenceAugmentation,
    SequenceAugmentation,
    check_length,
    for_each_step,
    steps_of,
)


class _RandomSpanMask(Augmentation):
    """Masks of random length at random places along one axis."""

    axis: int

    def __init__(
        self,
        max_length: int | float = 0.1,
        count: int = 1,
        fill: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.max_length = check_length("max_length", max_length)
        self.count = checks.integer("count", count, 1)
        self.fill = checks.number("fill", fill)

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """First index and length of each mask: `start` and `length`, int32 `(batch, count)`."""
        shape = ops.shape(inputs)
        size = ops.cast(shape[self.axis], "float32")
        most = steps_of(self.max_length, shape[self.axis])
        uniforms = self.uniform((shape[0], 2, self.count), seed)
        # a uniform number just below 1 may round up
        length = ops.minimum(ops.floor(uniforms[:, 0] * (most + 1.0)), most)
        start = ops.minimum(ops.floor(uniforms[:, 1] * (size - length + 1.0)), size - length)
        return {"start": ops.cast(start, "int32"), "length": ops.cast(length, "int32")}

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Lay given masks."""
        places = ops.arange(ops.shape(inputs)[self.axis], dtype="int32")[:, None]
        start, length = parameters["start"][:, None], parameters["length"][:, None]
        masked = ops.any((places >= start) & (places < start + length), axis=-1)
        masked = for_each_step(masked, inputs) if self.axis == 1 else masked[:, None]
        return fill_where(self, masked, inputs, self.fill)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        own = {"max_length": self.max_length, "count": self.count, "fill": self.fill}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomTimeMask(_RandomSpanMask, SequenceAugmentation):
    """Spans of consecutive steps replaced by a constant, for all features.

    The length of each mask is uniform from 0 to `max_length`, its place uniform among those where
    it fits. Masks may overlap.

    Args:
        max_length: longest mask: a number of steps (an integer) or a fraction of the sequence (a
            float).
        count: masks per sequence.
        fill: number that replaces masked values.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of sequences. Masks may fall on padded steps.
        training: whether to mask.

    Input shape:
        `(batch, time)` or `(batch, time, features)`, integer or floating-point. Token ids can be
        masked with the id of a mask token as `fill`.

    Output shape:
        That of the inputs, in their dtype.

    Raises:
        ValueError: if an argument is out of range, or `fill` does not fit into the integers of the
            inputs.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> mask = augment.sequence.RandomTimeMask(max_length=4, seed=1)
    >>> mask(np.ones((1, 10), "int32")).numpy().tolist()
    [[1, 1, 1, 0, 0, 0, 0, 1, 1, 1]]

    Reference:
        - [Park et al., SpecAugment](https://arxiv.org/abs/1904.08779)
    """

    axis = 1


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomFrequencyMask(_RandomSpanMask, FeatureSequenceAugmentation):
    """Bands of neighbouring features, such as frequencies, replaced by a constant at all steps.

    The width of each band is uniform from 0 to `max_length`, its place uniform among those where
    it fits. Bands may overlap.

    Args:
        max_length: widest band: a number of features (an integer) or a fraction of them (a float).
        count: bands per sequence.
        fill: number that replaces masked values.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of spectrograms or other sequences.
        training: whether to mask.

    Input shape:
        `(batch, time, features)`, integer or floating-point.

    Output shape:
        That of the inputs, in their dtype.

    Raises:
        ValueError: if an argument is out of range, or `fill` does not fit into the integers of the
            inputs.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> masked = augment.sequence.RandomFrequencyMask(max_length=3, seed=1)(np.ones((1, 2, 6)))
    >>> masked.shape
    TensorShape([1, 2, 6])

    Reference:
        - [Park et al., SpecAugment](https://arxiv.org/abs/1904.08779)
    """

    axis = 2


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomChannelMask(FeatureSequenceAugmentation):
    """Features of a sequence replaced by a constant at all steps, each with a probability.

    Such as sensors that fail. Other features are not scaled up, unlike in
    `keras.layers.SpatialDropout1D`.

    Args:
        rate: probability that a feature is masked, in [0, 1].
        fill: number that replaces masked values.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of sequences.
        training: whether to mask.

    Input shape:
        `(batch, time, features)`, integer or floating-point.

    Output shape:
        That of the inputs, in their dtype.

    Raises:
        ValueError: if `rate` lies outside [0, 1], or `fill` does not fit into the integers of the
            inputs.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> masked = augment.sequence.RandomChannelMask(0.5, seed=0)(np.ones((2, 50, 4)))
    >>> bool(np.ptp(masked, axis=1).max() == 0)  # a feature is masked at all steps or at none
    True
    """

    def __init__(
        self, rate: float = 0.2, fill: float = 0.0, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(seed=seed, **kwargs)
        self.rate = checks.probability("rate", rate)
        self.fill = checks.number("fill", fill)

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """Which features to mask: `masked`, boolean `(batch, features)`."""
        batch, _, features = ops.shape(inputs)
        return {"masked": self.uniform((batch, features), seed) < self.rate}

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Mask given features."""
        return fill_where(self, parameters["masked"][:, None], inputs, self.fill)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "rate": self.rate, "fill": self.fill}
