"""Stop a run whose loss is no longer a number, and say which."""

from typing import Any

import keras
import numpy as np


class StopOnNaN(keras.callbacks.Callback):
    """Raise at the end of the first batch after which a loss is NaN or infinite.

    `keras.callbacks.TerminateOnNaN` ends `fit` quietly; this names the loss and the step, so that
    the run fails where a script or a scheduler notices. Trainers of keras_ssl always train with it.

    Raises:
        FloatingPointError: names every metric that is not finite, the epoch and the step, counted
            from 1 over all epochs of this call of `fit`.

    Example:

    >>> import keras_ssl
    >>> callback = keras_ssl.callbacks.StopOnNaN()
    >>> callback.on_epoch_begin(0)
    >>> callback.on_train_batch_end(0, {"loss": 1.0})
    """

    def __init__(self):
        super().__init__()
        self._epoch = 0
        self._steps_before = 0
        self._last_batch = -1

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Count steps from the start."""
        self._steps_before, self._last_batch = 0, -1

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember which epoch it is."""
        self._epoch = epoch
        self._steps_before += self._last_batch + 1
        self._last_batch = -1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the total loss, and at all metrics if it is not finite."""
        self._last_batch = batch
        if np.isfinite(np.asarray((logs or {}).get("loss", 0.0))):
            return
        bad = [name for name, value in logs.items() if not np.all(np.isfinite(np.asarray(value)))]
        named = [name for name in bad if name != "loss"] or bad
        raise FloatingPointError(
            f"{', '.join(named)} became NaN or infinite at step {self._steps_before + batch + 1} "
            f"(epoch {self._epoch + 1}). Common causes: a learning rate that is too high, input "
            "that holds NaN, a temperature that is too low."
        )
