"""Features replaced by draws from their distributions in a table."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.tabular._base import TabularAugmentation


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomMarginalCorruption(TabularAugmentation):
    """SCARF's corruption: features are replaced by draws from their marginals in a whole table.

    In each row, features chosen at random are replaced. The new values are drawn, one by one, from
    the empirical distribution that the feature has in the table which `adapt` saw, as in the paper.
    `RandomFeatureCorruption` draws from the rows of the batch and needs no `adapt`.

    A distribution is stored as `quantiles` values of the table, evenly spaced in the order of
    size, as a weight that is saved with the layer and lies on the device. So the probability of
    each value is right to within 1 / `quantiles`, and exact if the table has as many rows or a
    number of rows that divides it. Values are those of the table, also codes of categories, but
    as float32: integers are exact up to 2^24.

    Args:
        rate: share of the features of a row that are replaced, in [0, 1].
        same_count: whether every row has the same number of features replaced, `rate` times all
            of them rounded down, as in SCARF. With `False` each value is replaced with
            probability `rate`, independently, as in VIME.
        quantiles: how many values of each feature are stored.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of rows.
        training: whether to corrupt.

    Input shape:
        `(batch, features)`, integer or floating-point, of any batch size.

    Output shape:
        That of the inputs, in their dtype. Before `adapt`, values that are replaced become NaN,
        and integers meaningless.

    Raises:
        TypeError: if an argument has the wrong type; from `adapt`, if the table holds no real
            numbers.
        ValueError: if `rate` lies outside [0, 1] or `quantiles` is below 1; at the first call, if
            `rate` is so small that no feature is replaced; from `adapt`, if the table has no rows,
            another number of features, or values that are not finite.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> corrupt = augment.tabular.RandomMarginalCorruption(rate=0.5, seed=0)
    >>> corrupt.adapt(np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]))
    >>> row = np.zeros((1, 2), "float32")
    >>> int(np.sum(corrupt(row) != row))  # one of two features, by a value of its own column
    1

    Reference:
        - [Bahri et al., SCARF: Self-Supervised Contrastive Learning using Random Feature
          Corruption](https://arxiv.org/abs/2106.15147)
    """

    def __init__(
        self,
        rate: float = 0.6,
        same_count: bool = True,
        quantiles: int = 1024,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.rate = checks.probability("rate", rate)
        self.same_count = bool(same_count)
        self.quantiles = checks.integer("quantiles", quantiles, minimum=1)

    def build(self, input_shape: Any) -> None:
        """Create the weight that holds the distributions, NaN until `adapt`."""
        features = input_shape[-1]
        if self.same_count and self.rate > 0 and self._count(features) == 0:
            raise ValueError(
                "`rate` times the number of features must be at least 1, or no feature is "
                f"replaced. Received: rate={self.rate} for {features} features"
            )
        self.values = self.add_weight(
            name="values",
            shape=(self.quantiles, features),
            dtype="float32",
            initializer=keras.initializers.Constant(float("nan")),
            trainable=False,
            aggregation="only_first_replica",  # training never changes it
        )

    @property
    def is_adapted(self) -> bool:
        """Whether the distributions are known, from `adapt` or a file."""
        return self.built and not np.isnan(ops.convert_to_numpy(self.values)).any()

    def adapt(self, table: Any) -> None:
        """Take the distributions of features from a table.

        Args:
            table: array or tensor `(rows, features)`: the training data.
        """
        self.check_inputs(table)
        rows = ops.convert_to_numpy(table)
        if not len(rows) or not np.isfinite(rows).all():
            raise ValueError(
                "`table` must have rows, and finite values: fill missing ones first, such as by "
                "scikit-learn's SimpleImputer. Received: shape "
                f"{rows.shape} with {int(np.sum(~np.isfinite(rows)))} values that are not finite"
            )
        if not self.built:
            self.build(rows.shape)
        if rows.shape[1] != self.values.shape[1]:
            raise ValueError(
                f"`table` must have {self.values.shape[1]} features, as the layer was built for. "
                f"Received: shape {rows.shape}"
            )
        places = (np.arange(self.quantiles) + 0.5) * len(rows) / self.quantiles
        self.values.assign(np.sort(rows, axis=0)[places.astype(int)].astype("float32"))

    def _count(self, features: int) -> int:
        return int(self.rate * features + 1e-6)  # 0.29 * 100 is below 29

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """Which values to replace, `corrupted`, and the stored ones to take, `source`."""
        batch, features = ops.shape(inputs)
        uniforms = self.uniform((batch, 2, features), seed)
        chosen = uniforms[:, 0] < self.rate
        if self.same_count:
            rank = ops.argsort(ops.argsort(uniforms[:, 0], axis=-1), axis=-1)
            chosen = rank < self._count(features)
        source = ops.cast(uniforms[:, 1] * self.quantiles, "int32")
        # a uniform number just below 1 may round up
        return {"corrupted": chosen, "source": ops.minimum(source, self.quantiles - 1)}

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Replace values with given parameters."""
        features = inputs.shape[1]
        stored = ops.reshape(ops.convert_to_tensor(self.values), (-1,))
        places = parameters["source"] * features + ops.arange(features, dtype="int32")
        taken = ops.cast(ops.take(stored, places), inputs.dtype)
        return ops.where(parameters["corrupted"], taken, inputs)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        own = {"rate": self.rate, "same_count": self.same_count, "quantiles": self.quantiles}
        return {**super().get_config(), **own}
