"""A `keras.utils.PyDataset` whose batches are those of another, changed by a function."""

from collections.abc import Callable
from typing import Any

import keras


class MappedBatches(keras.utils.PyDataset):
    """The batches of a `PyDataset`, each passed through a function of the batch.

    Args:
        data: the `PyDataset`.
        function: function of a batch that returns another one.
    """

    def __init__(self, data: keras.utils.PyDataset, function: Callable[[Any], Any]):
        super().__init__(
            workers=data.workers,
            use_multiprocessing=data.use_multiprocessing,
            max_queue_size=data.max_queue_size,
        )
        self._data = data
        self._function = function

    @property
    def num_batches(self) -> int | None:
        """The number of batches, `None` if it is not known."""
        return self._data.num_batches

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Any:
        return self._function(self._data[index])

    def on_epoch_begin(self) -> None:
        """Tell the other that an epoch begins."""
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tell the other that an epoch ends."""
        self._data.on_epoch_end()
