"""Features replaced by those of other rows."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.augment.tabular._base import TabularAugmentation


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomFeatureCorruption(TabularAugmentation):
    """SCARF's corruption: features are replaced by those of other rows.

    Each value is replaced, with probability `rate`, by the value that the same feature has in
    another row of the batch, drawn anew for every value. So replacements follow the feature's
    empirical marginal distribution, whatever its scale and kind: integer codes of categories stay
    valid codes. Over several replicas the rows are those of the global batch.

    The paper replaces a fixed number of features in each row, `rate` times all of them rounded
    down; here that number is the mean over rows. It corrupts one of the two views and leaves the
    other as it is: see the second example.

    Args:
        rate: probability that a value is replaced, in [0, 1].
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of rows.
        training: whether to corrupt.

    Input shape:
        `(batch, features)`, integer or floating-point. In a batch of one row nothing changes.

    Output shape:
        That of the inputs, in their dtype.

    Raises:
        ValueError: if `rate` lies outside [0, 1].

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> corrupt = augment.tabular.RandomFeatureCorruption(rate=1.0, seed=0)
    >>> corrupt(np.array([[1, 10], [2, 20]])).numpy().tolist()
    [[2, 20], [1, 10]]
    >>> views = augment.AsymmetricViews([corrupt, []])  # the second view is the row itself

    Reference:
        - [Bahri et al., SCARF: Self-Supervised Contrastive Learning using Random Feature
          Corruption](https://arxiv.org/abs/2106.15147)
    """

    def __init__(self, rate: float = 0.6, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.rate = checks.probability("rate", rate)

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """Which values to replace, and from which rows of the global batch to take them."""
        batch, features = ops.shape(inputs)
        uniforms = self.uniform((batch, 2, features), seed)
        rows = batch * distribute.replica_count()
        # one of the `rows - 1` others; a uniform number just below 1 may round up
        steps = 1 + ops.cast(uniforms[:, 1] * ops.cast(rows - 1, "float32"), "int32")
        steps = ops.minimum(steps, rows - 1)
        own_rows = distribute.replica_index() * batch + ops.arange(batch, dtype="int32")
        return {
            "corrupted": uniforms[:, 0] < self.rate,
            "source": (own_rows[:, None] + steps) % rows,
        }

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Replace values with given parameters."""
        features = ops.shape(inputs)[1]
        values = ops.reshape(_all_rows(inputs), (-1,))
        places = parameters["source"] * features + ops.arange(features, dtype="int32")
        taken = ops.cast(ops.take(values, places), inputs.dtype)
        return ops.where(parameters["corrupted"], taken, inputs)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "rate": self.rate}


def _all_rows(x: Any) -> Any:
    """The rows of all replicas, in a dtype that replicas can exchange."""
    if distribute.replica_count() == 1:
        return x
    dtype = keras.backend.standardize_dtype(x.dtype)
    if dtype not in ("float16", "float32", "float64", "int32", "int64"):
        # exact, for bfloat16 and for small integers
        x = ops.cast(x, "float32" if keras.backend.is_float_dtype(dtype) else "int64")
    return distribute.all_gather(x)
