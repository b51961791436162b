"""Warning of an optimizer that needs the gradient of all data and does not get it."""

import warnings
from typing import Any

import keras


class FullBatchWarning(keras.callbacks.Callback):
    """Warn once if the batches of a full-batch optimizer are not all data, or change.

    Args:
        optimizer: name of the optimizer's class.
        draws_views: whether the trainer augments every batch at random.
    """

    async_safe = True  # it reads no logs

    def __init__(self, optimizer: str, draws_views: bool):
        super().__init__()
        self._optimizer = optimizer
        self._draws_views = draws_views
        self._has_warned = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Warn of what is known before the first step."""
        steps = (self.params or {}).get("steps") or 1
        if steps > 1:
            self._warn(f"{steps} batches in an epoch")
        elif self._draws_views:
            self._warn("a trainer with `augment`, whose views differ from step to step")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Warn at the second batch of data whose length is not known."""
        if batch > 0:
            self._warn("several batches in an epoch")

    def _warn(self, received: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"{self._optimizer} compares the signs of gradients of the same data and needs one "
                "batch of all examples: pass `batch_size=len(x)`, or take an optimizer for "
                f"mini-batches. Received: {received}",
                stacklevel=2,
            )
