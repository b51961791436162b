"""Epochs of `fit` on batches that lie ready, and how long they take."""

from time import perf_counter

import keras


class _Batches(keras.utils.PyDataset):
    """Batches of `x`, always in the same order."""

    def __init__(self, batches: list):
        super().__init__()
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> tuple:
        return (self._batches[number],)


class _Clock(keras.callbacks.Callback):
    """The seconds of the last epoch, from its begin to its logs. Takes no part in its batches."""

    seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self._begin = perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Stop it. The logs are numbers by now, so that all steps have ended."""
        self.seconds = perf_counter() - self._begin


def seconds_per_step(trainer: keras.Model, batches: list) -> float:
    """Train for an epoch and return its seconds divided by its batches."""
    clock = _Clock()
    trainer.fit(_Batches(batches), shuffle=False, verbose=0, callbacks=[clock])
    return clock.seconds / len(batches)
