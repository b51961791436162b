"""Values of a table masked at random."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment._tensors import fill_where, float_dtypes
from keras_ssl.augment.tabular._base import TabularAugmentation, batch_mean


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomMask(TabularAugmentation):
    """Values of a table replaced by a constant or by the feature's mean, each with a probability.

    Values that stay are not scaled up, unlike in `keras.layers.Dropout`.

    Args:
        rate: probability that a value is masked, in [0, 1].
        fill: number that replaces masked values, or `"mean"` for the mean of the feature over the
            batch (over several replicas, the global batch).
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of rows.
        training: whether to mask.

    Input shape:
        `(batch, features)`, integer or floating-point.

    Output shape:
        That of the inputs, in their dtype; with `fill="mean"`, integers become float32.

    Raises:
        ValueError: if `rate` lies outside [0, 1], or `fill` does not fit into the integers of the
            inputs.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> table = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> augment.tabular.RandomMask(rate=1.0, fill="mean")(table).numpy().tolist()
    [[2.0, 20.0], [2.0, 20.0]]
    """

    def __init__(
        self,
        rate: float = 0.3,
        fill: float | str = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.rate = checks.probability("rate", rate)
        if isinstance(fill, str) and fill != "mean":
            raise ValueError(f"`fill` must be a number or 'mean'. Received: fill={fill!r}")
        self.fill = fill if fill == "mean" else checks.number("fill", fill)

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """Which values to mask: `masked`, boolean `(batch, features)`."""
        return {"masked": self.uniform(ops.shape(inputs), seed) < self.rate}

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Mask values with given parameters."""
        if self.fill != "mean":
            return fill_where(self, parameters["masked"], inputs, self.fill)
        computed, returned = float_dtypes(inputs)
        means = ops.cast(batch_mean(ops.cast(inputs, computed)), returned)
        return ops.where(parameters["masked"], means, ops.cast(inputs, returned))

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "rate": self.rate, "fill": self.fill}
