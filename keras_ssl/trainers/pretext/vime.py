"""VIME: tell which values of a row were replaced, and what they were."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers._linear_to_targets import LinearToTargets
from keras_ssl.trainers.data_spec import DataSpec
from keras_ssl.trainers.pretext._table_model import TableModel, marginal_corruption, rectifiers
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class VIME(TableModel):
    r"""VIME: value imputation and mask estimation, the self-supervised part.

    Values of a row x are replaced by draws from the features' marginals. From the features of the
    corrupted row x', h = f(x'), one linear map estimates which values changed, m = 1(x' ≠ x), and
    another one x itself:

        L = mean over columns of BCE(m, sigmoid(W_m h + b_m)) + α mean over columns of (x - W_x h)²

    A value that is replaced by an equal one counts as unchanged, as in the authors' code. Columns
    of categories have a cross-entropy in place of the squared error. The logs show both losses
    without α, `mask` and `reconstruction`.

    Args:
        encoder: `keras.Model` or layer f that maps rows to `(batch, features)`; in the paper one
            layer of rectifiers.
        alpha: α, at least 0.
        categories: numbers of classes by the number of the column, for columns of integer codes
            from 0, such as `{3: 5, 7: 2}`. All other columns are numbers.
        corruption: layer that replaces values. `None` means `keras_ssl.augment.tabular.
            RandomMarginalCorruption(0.3, same_count=False)`, which `fit` adapts to the whole table
            if it gets an array. For other data, call `trainer.adapt(table)` before.
        augment: layer that makes one view of a batch of rows before they are corrupted. `None`, as
            in the paper, leaves them unchanged.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of rows.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, columns)`, integer or floating-point, without missing values. Scale columns of
        numbers to one range: their errors are added. The paper's is 0 to 1.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `alpha` is negative or a number of classes below 2; before the first step, if
            the data is no table, `categories` names a column that it has not, arrays or a first
            batch have values that are not finite or codes out of range, the corruption does not
            know the table, or the encoder does not return one vector per row.

    Example:

    >>> import keras, keras_ssl
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import minmax_scale
    >>> x = minmax_scale(load_breast_cancer().data).astype("float32")
    >>> trainer = keras_ssl.trainers.VIME(keras.layers.Dense(30, "relu"))
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(x, batch_size=64, verbose=0)
    >>> sorted(history.history)
    ['loss', 'mask', 'reconstruction']
    >>> trainer.encoder(x).shape
    TensorShape([569, 30])

    Reference:
        - [VIME: Extending the Success of Self- and Semi-supervised Learning to Tabular Domain](
          https://proceedings.neurips.cc/paper/2020/hash/7d97667a3e056acab9aaf653807b4a03-Abstract.html),
          Yoon et al., 2020
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        alpha: float = 2.0,
        categories: Mapping[int, int] | None = None,
        corruption: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        corruption = marginal_corruption(corruption, rate=0.3, same_count=False)
        super().__init__(encoder, corruption, augment, **kwargs)
        self.alpha = checks.number("alpha", alpha, minimum=0.0)
        self.categories = _checked(categories)
        self.to_mask = LinearToTargets(name="to_mask")
        self.to_values = LinearToTargets(name="to_values")

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of rows, with the columns of categories."""
        super().check_views(views)
        if self.categories and max(self.categories) >= views.shape[1]:
            raise ValueError(
                f"`categories` must name columns from 0 to {views.shape[1] - 1}. "
                f"Received: categories={self.categories}"
            )

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if values are missing or codes of categories out of range."""
        super().check_values(x)
        values = np.asarray(x)
        for column, classes in self.categories.items():
            codes = values[:, column] if values.ndim == 2 and column < values.shape[1] else []
            if len(codes) and not np.isin(codes, np.arange(classes)).all():
                raise ValueError(
                    f"Column {column} of `x` must hold integer codes from 0 to {classes - 1}, as "
                    f"`categories` says. Received: values from {np.min(codes)} to {np.max(codes)}"
                )

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return both losses of each row, and the representation of the corrupted rows."""
        x = batch.views
        seen = self.corruption(x, training=True)
        h = self.encoder(seen, training=training)
        self.check_representation(h)
        changed = ops.cast(ops.not_equal(seen, x), "float32")
        logits = ops.cast(self.to_mask(h, x), "float32")
        mask = ops.binary_crossentropy(changed, logits, from_logits=True)
        columns = x.shape[1]
        numbers = [n for n in range(columns) if n not in self.categories]
        outputs = ops.zeros((1, len(numbers) + sum(self.categories.values())))
        errors = self._errors(at_least_float32(x), self.to_values(h, outputs), numbers)
        return {
            "mask": ops.mean(mask, axis=-1),
            "reconstruction": ops.cast(errors / columns, "float32"),
            "representation": h,
        }

    def _errors(self, x: Any, outputs: Any, numbers: list[int]) -> Any:
        """Return the sum over columns of the errors of each row."""
        total = 0.0
        if numbers:
            target = ops.take(x, np.array(numbers, "int32"), axis=1)
            total += ops.sum(ops.square(target - outputs[:, : len(numbers)]), axis=-1)
        start = len(numbers)
        for column, classes in self.categories.items():
            logits = outputs[:, start : start + classes]
            codes = ops.cast(x[:, column], "int32")
            total += ops.sparse_categorical_crossentropy(codes, logits, from_logits=True)
            start += classes
        return total

    def loss_weight(self, name: str) -> Any:
        """Return the factor of a named loss in the total loss: of the reconstruction with α."""
        weight = super().loss_weight(name)
        return self.alpha * weight if name == "reconstruction" else weight

    @classmethod
    def encoder_for(cls, data: DataSpec) -> keras.Model:
        """Return the encoder of the paper, one rectifier for each column."""
        return rectifiers(data.shape, data.shape)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        # keys of JSON are strings
        categories = [list(pair) for pair in self.categories.items()]
        return {**super().get_config(), "alpha": self.alpha, "categories": categories}


def _checked(categories: Any) -> dict[int, int]:
    """Return the numbers of classes by column, in the order of columns."""
    pairs = categories.items() if isinstance(categories, Mapping) else categories or ()
    try:
        found = dict(pairs)
    except (TypeError, ValueError):
        raise TypeError(
            "`categories` must be a dictionary of numbers of classes by column. "
            f"Received: categories={categories!r}"
        ) from None
    checked = {
        checks.integer("a column of `categories`", column, minimum=0): checks.integer(
            f"categories[{column}]", classes, minimum=2
        )
        for column, classes in found.items()
    }
    return dict(sorted(checked.items()))
