"""Stop a run whose loss is NaN or infinite, that of the online probe included."""

from typing import Any

import keras
import numpy as np

_STOPPING = ("loss", "probe_loss")


class StopOnNaN(keras.callbacks.Callback):
    """Raise an error after the first batch whose loss is NaN or infinite.

    That is the entry `loss` of the logs, or `probe_loss`, the loss of an online probe.

    `keras.callbacks.TerminateOnNaN` ends `fit` silently; this callback raises an error that names
    the loss and the step, so that scripts and schedulers notice. Trainers of keras_ssl always use
    it.

    Losses in the logs are means over the epoch so far, in which a NaN persists: the error names
    the first step that had it. With `steps_per_execution` above 1 the logs come once per
    execution, and the error names the steps of that execution.

    If no other callback acts on batches, Keras passes the logs to callbacks in a thread while the
    device continues, so the error may come a few steps after the one it names.

    Raises:
        FloatingPointError: if a loss is not finite. Names the entries of the logs that are not
            finite, the epoch, and the step, counted from 1 over all epochs of this call of `fit`.

    Example:

    >>> import keras_ssl
    >>> callback = keras_ssl.callbacks.StopOnNaN()
    >>> callback.on_epoch_begin(0)
    >>> callback.on_train_batch_end(0, {"loss": 1.0})
    """

    # lets Keras read the logs in a thread, so that no step waits for the previous one
    async_safe = True

    def __init__(self):
        super().__init__()
        self._epoch = 0
        self._steps_before = 0
        self._last_batch = -1
        self._together = 1
        self._error = None
        self._error_batch = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reset the counts."""
        self._steps_before, self._last_batch = 0, -1
        # not in each batch, for which Keras would write the weights of a model on JAX back
        self._together = getattr(self.model, "steps_per_execution", 1)
        self._error = self._error_batch = None

    def get_state(self) -> dict[str, Any]:
        """Return the state that `BackupAndResume` saves: the number of steps so far."""
        return {"steps_before": self._steps_before, "last_batch": self._last_batch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        self._steps_before, self._last_batch = state["steps_before"], state["last_batch"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember the epoch."""
        self._epoch = epoch
        self._steps_before += self._last_batch + 1
        self._last_batch = -1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the total loss and that of the online probe."""
        first = batch - self._together + 1
        # Keras counts the last, shorter execution of an epoch as a full one
        batch = min(batch, ((self.params or {}).get("steps") or batch + 1) - 1)
        self._last_batch = max(self._last_batch, batch)
        logs = logs or {}
        if all(np.all(np.isfinite(logs.get(name, 0.0))) for name in _STOPPING):
            return
        # Keras may raise a later batch's error first: every error names the earliest batch
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
            "Common causes: a learning rate that is too high, NaN in the input, a temperature that "
            "is too low, labels out of range."
        )
