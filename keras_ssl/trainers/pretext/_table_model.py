"""Base of methods that corrupt the rows of a table."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.augment.tabular import RandomMarginalCorruption
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_type, describe
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.pretext._values import check_finite


class TableModel(SelfSupervisedModel):
    """Base of methods that learn from rows of a table, some of whose values are replaced.

    Args:
        encoder: layer from rows to features.
        corruption: layer that replaces values. One that must know the whole table, such as
            `augment.tabular.RandomMarginalCorruption`, is adapted to the arrays that `fit` gets,
            unless it was before.
        augment: layer that makes one view of a batch of rows, or `None`.
        **kwargs: `name`, `dtype` of the model.
    """

    view_count = 1
    learns_from = "tables"

    def __init__(
        self,
        encoder: keras.layers.Layer,
        corruption: keras.layers.Layer,
        augment: keras.layers.Layer | None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        check_type("corruption", corruption, keras.layers.Layer)
        self.corruption = corruption

    def adapt(self, x: Any) -> None:
        """Adapt the corruption to a whole table, unless it has been before or need not be.

        `fit` does so with an array; for data of another form, call it before.

        Args:
            x: the table, an array `(rows, columns)`.
        """
        if not _is_adapted(self.corruption):
            self.check_values(x)
            with self.distribute_strategy.scope():
                self.corruption.adapt(x)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Train, as `SelfSupervisedModel.fit`, after adapting the corruption to arrays."""
        is_table = hasattr(x, "shape") and hasattr(x, "dtype") and len(x.shape) == 2 and len(x)
        if is_table:
            self.adapt(x)
        return super().fit(x, *args, **kwargs)

    def before_steps(self) -> None:
        """Raise unless the corruption knows the table."""
        if not _is_adapted(self.corruption):
            raise ValueError(
                "`corruption` must know the distributions of the features before the first step. "
                "Expected `fit` with an array, or a call of `trainer.adapt(table)` for data of "
                "another form. Received: no table"
            )
        super().before_steps()

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of rows."""
        if not hasattr(views, "shape") or len(views.shape) != 2:
            raise ValueError(
                "Expected a table of shape (batch, features), one tensor. Received: "
                f"{describe(views)}"
            )

    def check_representation(self, features: Any) -> None:
        """Raise unless the encoder returns one vector per row."""
        check_features(features)

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if values of a table are missing."""
        advice = "fill them first, such as by scikit-learn's SimpleImputer with add_indicator=True"
        check_finite(x, advice)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(corruption=self.corruption)}


def marginal_corruption(
    corruption: keras.layers.Layer | None, rate: float, same_count: bool
) -> keras.layers.Layer:
    """Return the corruption that was given, or draws from the features' marginals."""
    if corruption is not None:
        return corruption
    return RandomMarginalCorruption(rate, same_count, name="corruption")


def rectifiers(shape: tuple[int, ...], widths: Sequence[int]) -> keras.Model:
    """Return a network of layers of rectifiers.

    Args:
        shape: shape of a row.
        widths: width of each layer.
    """
    layers = [keras.layers.Dense(width, "relu") for width in widths]
    return keras.Sequential([keras.Input(shape), *layers])


def _is_adapted(corruption: keras.layers.Layer) -> bool:
    return not callable(getattr(corruption, "adapt", None)) or corruption.is_adapted
