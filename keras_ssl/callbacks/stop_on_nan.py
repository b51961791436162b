"""Stop a run whose loss is no longer a number, and say which."""

from typing import Any

import keras
import numpy as np


class StopOnNaN(keras.callbacks.Callback):
    """Raise at the end of the first batch after which a loss is NaN or infinite.

    `keras.callbacks.TerminateOnNaN` ends `fit` quietly; this names the loss and the step, so that
    the run fails where a script or a scheduler notices. Trainers of keras_ssl always train with it.

    Losses in the logs are means over the epoch so far, in which a NaN stays: the step named is the
    first one that had it. With `steps_per_execution` above 1, the logs come once in so many steps,
    and the step lies among those that the message names.

    Where no other callback acts on batches, Keras looks at the logs in a thread while the device
    goes on, and so does this: the error may come a few steps after the one it names.

    Raises:
        FloatingPointError: names every entry of the logs that is not finite, the epoch and the
            step, counted from 1 over all epochs of this call of `fit`.

    Example:

    >>> import keras_ssl
    >>> callback = keras_ssl.callbacks.StopOnNaN()
    >>> callback.on_epoch_begin(0)
    >>> callback.on_train_batch_end(0, {"loss": 1.0})
    """

    # lets Keras read the logs in a thread, so that no step waits for the one before
    async_safe = True

    def __init__(self):
        super().__init__()
        self._epoch = 0
        self._steps_before = 0
        self._last_batch = -1
        self._error = None
        self._error_batch = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Count steps from the start."""
        self._steps_before, self._last_batch = 0, -1
        self._error = self._error_batch = None

    def get_state(self) -> dict[str, Any]:
        """Return what `BackupAndResume` keeps: how many steps came before."""
        return {"steps_before": self._steps_before, "last_batch": self._last_batch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Count on from what `get_state` returned."""
        self._steps_before, self._last_batch = state["steps_before"], state["last_batch"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember which epoch it is."""
        self._epoch = epoch
        self._steps_before += self._last_batch + 1
        self._last_batch = -1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the total loss, and at all entries if it is not finite."""
        together = getattr(self.model, "steps_per_execution", 1)
        first = batch - together + 1
        # Keras counts the last, shorter execution of an epoch as a full one
        batch = min(batch, ((self.params or {}).get("steps") or batch + 1) - 1)
        self._last_batch = max(self._last_batch, batch)
        logs = logs or {}
        if np.all(np.isfinite(logs.get("loss", 0.0))):
            return
        # Keras may see a later batch's error first: whichever it sees tells of the earliest batch
        if self._error is None or batch < self._error_batch:
            self._error, self._error_batch = self._describe(first, batch, logs), batch
        raise self._error

    def _describe(self, first: int, last: int, logs: dict[str, Any]) -> FloatingPointError:
        bad = [name for name, value in logs.items() if not np.all(np.isfinite(value))]
        named = [name for name in bad if name != "loss"] or bad
        step = f"step {self._steps_before + last + 1}"
        if first < last:
            step = f"steps {self._steps_before + first + 1} to {self._steps_before + last + 1}"
        return FloatingPointError(
            f"{', '.join(named)} became NaN or infinite at {step} (epoch {self._epoch + 1}). "
            "Common causes: a learning rate that is too high, input that holds NaN, a temperature "
            "that is too low."
        )
