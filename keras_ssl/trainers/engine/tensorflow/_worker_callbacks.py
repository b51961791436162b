"""Choice of the callbacks that a worker runs."""

from typing import Any

import keras
import tensorflow as tf

from keras_ssl.distribute.workers import gather_numbers, is_chief

# these write or show; all others influence training, which must be the same on all workers
_WRITERS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)


def callbacks_of_worker(callbacks: Any, strategy: tf.distribute.Strategy) -> list:
    """Return the callbacks that this worker runs; those that write run in the chief only.

    If a callback has an attribute `chief_only`, that decides.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.callbacks = _of_worker(callbacks.callbacks, strategy)
        return callbacks
    return _of_worker(keras.tree.flatten([] if callbacks is None else callbacks), strategy)


def _of_worker(callbacks: list, strategy: tf.distribute.Strategy) -> list:
    restores = any(isinstance(one, keras.callbacks.BackupAndRestore) for one in callbacks)
    if not is_chief(strategy):
        callbacks = [
            _Restore(one) if isinstance(one, keras.callbacks.BackupAndRestore) else one
            for one in callbacks
            if isinstance(one, keras.callbacks.BackupAndRestore) or not _is_for_chief(one)
        ]
    return [*callbacks, _SameStart(strategy)] if restores else list(callbacks)


def _is_for_chief(callback: keras.callbacks.Callback) -> bool:
    return getattr(callback, "chief_only", isinstance(callback, _WRITERS))


class _Restore(keras.callbacks.Callback):
    """Restores the chief's backup, and makes none."""

    def __init__(self, backup: keras.callbacks.BackupAndRestore):
        super().__init__()
        self._backup = backup

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._backup.set_model(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._backup.on_train_begin(logs)


class _SameStart(keras.callbacks.Callback):
    """Raises an error unless all workers have restored the same epoch."""

    def __init__(self, strategy: tf.distribute.Strategy):
        super().__init__()
        self._strategy = strategy

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        start = getattr(self.model, "_initial_epoch", None) or 0
        starts = gather_numbers(self._strategy, [start])[:, 0].tolist()
        if len(set(starts)) > 1:
            raise RuntimeError(
                "Workers found different backups. All of them must share the folder of "
                f"`BackupAndRestore`. Received: epochs to start from, by replica: {starts}"
            )
