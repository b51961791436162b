"""Base of callbacks that measure the representation at the end of epochs."""

import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.distribute import is_chief, on_chief
from keras_ssl.evaluate._batch_statistics import LagCheck
from keras_ssl.evaluate._forward import Forward


class EpochEndMeasure(keras.callbacks.Callback):
    """Base of callbacks that add measurements of the representation to an epoch's logs.

    A subclass implements `measure(forward)`, which returns numbers by name, and may implement
    `check(forward)`, which raises before the first step when the data does not fit the model. The
    representation is the output of the model's call in inference mode, `trainer(x)`.

    The logs of every epoch get an entry: between measurements the last value is repeated. A
    callback that counts epochs without improvement counts repeated values too, so the `patience`
    of `EarlyStopping` must be at least `every`.

    Keras passes one dictionary of logs from callback to callback, in the order of the list given
    to `fit`, and then to the history and the progress bar. A callback that reads these numbers
    (`EarlyStopping`, `ModelCheckpoint`, `CSVLogger`, `TensorBoard`) must therefore come later in
    the list than the one that writes them.

    With several workers the chief measures and all workers get its numbers, so that a callback
    which stops training stops it in all of them.

    Args:
        every: measure after the first epoch of `fit`, after every epoch whose number (from 1) is a
            multiple of this, and after the last.
    """

    def __init__(self, every: int = 1):
        super().__init__()
        self.every = checks.integer("every", every, minimum=1)
        self._forward = None
        self._measured_model = None
        self._numbers = None
        self._lag_check = None
        self._lag_is_known = False

    def encoder(self) -> tuple[keras.layers.Layer, Callable[[Any], Any] | None]:
        """Return what is measured, and what prepares a batch for it."""
        return self.model, None

    def measure(self, forward: Forward) -> dict[str, float]:
        """Return the numbers to log."""
        raise NotImplementedError(f"{type(self).__name__} must implement `measure`")

    def check(self, forward: Forward) -> None:
        """Raise if data and model do not fit. Called before the first step."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Make the forward function of the model and check the data."""
        # kept from one `fit` to the next, so that the graph is traced once
        if self._measured_model is not self.model:
            self._measured_model = self.model
            encoder, prepare = self.encoder()
            self._forward = Forward(encoder, prepare)
            self._lag_check = LagCheck(encoder, self._forward, prepare)
        self._numbers, self._lag_is_known = None, False
        on_chief(lambda: self.check(self._forward), self.model.distribute_strategy)

    def get_state(self) -> dict[str, Any]:
        """Return the state that `BackupAndResume` saves: the last numbers."""
        return {"numbers": self._numbers}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        self._numbers = state["numbers"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure if it is due, and add the last numbers to the logs."""
        number = epoch + 1
        is_due = number % self.every == 0 or number == self.params.get("epochs")
        # the first epoch, which need not be number 1, has no earlier numbers
        if is_due or self._numbers is None:
            strategy = self.model.distribute_strategy
            self._numbers = on_chief(lambda: self.measure(self._forward), strategy)
            if is_chief(strategy):
                self.examine(epoch, self._numbers)
        if logs is not None:
            logs.update(self._numbers)

    def warn_of_lag(self, epoch: int, lag: str) -> None:
        """Warn once in a `fit` that moving statistics lag behind."""
        if not self._lag_is_known:
            warnings.warn(f"{type(self).__name__}: after epoch {epoch + 1}, {lag}.", stacklevel=3)
        self._lag_is_known = True

    def examine(self, epoch: int, numbers: dict[str, float]) -> None:
        """Act on new numbers; does nothing by default."""
