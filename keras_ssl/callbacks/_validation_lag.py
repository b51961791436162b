"""Warning of moving statistics that spoil the validation of a trainer."""

import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_ssl.evaluate._batch_statistics import LagCheck, normalization_layers
from keras_ssl.evaluate._batches import Batches
from keras_ssl.evaluate._forward import Forward

_BATCH = 256


class ValidationLag(keras.callbacks.Callback):
    """Warn once if validation is spoilt by moving statistics that lag behind.

    After an epoch with validation, the representation of the first batch of the validation data is
    computed in inference mode and with the statistics of the batch. Nothing is computed once the
    optimizer has taken so many steps that the initial statistics are forgotten.

    Args:
        data: the validation data.
        example_of: function that maps `x` of a batch to what the trainer is called on.
    """

    chief_only = True

    def __init__(self, data: Any, example_of: Callable[[Any], Any]):
        super().__init__()
        self._data = data
        self._example_of = example_of
        self._check = self._x = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Find out whether there are moving statistics."""
        momenta = [layer.momentum for layer in normalization_layers(self.model)]
        self._momentum = max(momenta, default=0.0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compare both modes, if the epoch had a validation."""
        if self._momentum == 0 or not any(name.startswith("val_") for name in logs or {}):
            return
        if (
            self._momentum ** int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
            < 0.05
        ):
            return
        lag = None
        try:
            lag = self._find()
        except Exception:  # what only advises must not end a run
            self._momentum = 0.0
        if lag is not None:
            self._momentum = 0.0
            warnings.warn(f"Validation after epoch {epoch + 1}: {lag}.", stacklevel=2)

    def _find(self) -> str | None:
        if self._check is None:
            x, _ = Batches(self._data, "validation_data", _BATCH).first()
            self._x = self._example_of(x)
            self._check = LagCheck(self.model, Forward(self.model))
        return self._check.find(self._x)
