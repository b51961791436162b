"""The distribution of noise of methods that contrast pairs with random ones."""

from typing import Any

import keras
import numpy as np
from keras import ops

# the resolution of probabilities
_TOTAL = 2**31 - 1


class NoiseDistribution(keras.layers.Layer):
    """Distribution over the numbers 0 to size - 1, as a fixed weight, so that files hold it.

    Args:
        size: how many numbers there are.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.below = self.add_weight(
            name="below",
            shape=(size,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",  # it never changes
        )
        self.built = True

    def set_weights_of(self, weights: Any) -> None:
        """Let the probabilities be proportional to nonnegative weights `(size,)`."""
        shares = np.cumsum(np.asarray(weights, "float64"))
        below = np.round(shares / shares[-1] * _TOTAL)
        self.below.assign(below.astype("int32"))

    @property
    def is_known(self) -> bool:
        """Whether the probabilities were set or loaded."""
        return int(np.asarray(self.below)[-1]) == _TOTAL

    def draw(self, shape: tuple, seed: keras.random.SeedGenerator) -> Any:
        """Draw int32 numbers of a shape."""
        drawn = keras.random.randint(shape, 0, _TOTAL, dtype="int32", seed=seed)
        flat = ops.searchsorted(self.below.value, ops.reshape(drawn, (-1,)), side="right")
        return ops.reshape(ops.cast(flat, "int32"), shape)

    def log_probabilities(self, numbers: Any) -> Any:
        """Return the logarithms of the probabilities of numbers, float32.

        That of a number that is never drawn is finite, as of the smallest probability.
        """
        width = ops.maximum(ops.diff(ops.pad(self.below.value, [[1, 0]])), 1)
        return ops.log(ops.cast(ops.take(width, numbers), "float32") / _TOTAL)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "size": self.size}
