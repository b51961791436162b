"""What callbacks share that measure the representation when an epoch ends."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.distribute import is_chief, on_chief
from keras_ssl.evaluate._forward import Forward, forward_function


class EpochEndMeasure(keras.callbacks.Callback):
    """Base of callbacks that put numbers about the representation into an epoch's logs.

    A subclass implements `measure(forward)`, which returns named numbers, and may implement
    `check(forward)`, which raises before the first step when the data does not fit the model. The
    representation is the output of the model's own call in inference mode: `trainer(x)`, as every
    trainer of keras_ssl defines it.

    Between measurements the last value stands: the logs of every epoch have an entry, so that the
    history has one value an epoch. To a callback that counts epochs without improvement, a value
    that stands is none; the `patience` of `EarlyStopping` must be at least `every`.

    Keras hands one dictionary of logs from callback to callback, in the order of the list given to
    `fit`, with the history and the progress bar after them. So both show these numbers; a callback
    that reads them (`EarlyStopping`, `ModelCheckpoint`, `CSVLogger`, `TensorBoard`) must stand
    later in the list than the one that writes them.

    With several workers the chief measures, and all get its numbers, so that a callback which stops
    training by them stops it everywhere.

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

    def measure(self, forward: Forward) -> dict[str, float]:
        """The numbers to log. To be implemented."""
        raise NotImplementedError(f"{type(self).__name__} must implement `measure`")

    def check(self, forward: Forward) -> None:
        """Raise when data and model do not fit. Called before the first step."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Make the model ready and find mistakes early."""
        # kept from one `fit` to the next, so that the graph is traced once
        if self._measured_model is not self.model:
            self._measured_model, self._forward = self.model, forward_function(self.model)
        self._numbers = None
        on_chief(lambda: self.check(self._forward), self.model.distribute_strategy)

    def get_state(self) -> dict[str, Any]:
        """Return what `BackupAndResume` keeps: the numbers that stand."""
        return {"numbers": self._numbers}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._numbers = state["numbers"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure when it is time, and add the newest numbers to the logs."""
        number = epoch + 1
        is_time = number % self.every == 0 or number == self.params.get("epochs")
        # the first epoch, which need not be number 1, has nothing older to show
        if is_time or self._numbers is None:
            strategy = self.model.distribute_strategy
            self._numbers = on_chief(lambda: self.measure(self._forward), strategy)
            if is_chief(strategy):
                self.examine(epoch, self._numbers)
        if logs is not None:
            logs.update(self._numbers)

    def examine(self, epoch: int, numbers: dict[str, float]) -> None:
        """Act on what was measured. Nothing by default."""
