"""Arrays as batches, in orders that depend on a seed alone."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


class ArrayBatches(keras.utils.PyDataset):
    """Batches of a structure of arrays of equal length.

    As in Keras' `fit`, lists become tuples and floats `keras.config.floatx()`. Every pass is
    shuffled anew.

    Args:
        data: structure of arrays, such as a tuple of `x`, labels and weights.
        batch_size: examples per batch.
        seed: seed of the orders; `None` keeps the order of the arrays.
        drop_remainder: whether to leave out what remains after the last full batch.
    """

    def __init__(
        self, data: Any, batch_size: int, seed: int | None = None, drop_remainder: bool = False
    ):
        super().__init__()
        self._arrays = keras.tree.map_structure(_as_array, keras.tree.lists_to_tuples(data))
        self._examples = len(keras.tree.flatten(self._arrays)[0])
        self._batch_size, self._seed = batch_size, seed
        self._drops = drop_remainder and self._examples >= batch_size
        self._epochs = self._passes = 0
        self._order = None

    @property
    def specs(self) -> Any:
        """The shapes and dtypes of a batch."""
        is_even = self._drops or self._examples % self._batch_size == 0
        size = self._batch_size if is_even else None

        def spec(array: np.ndarray) -> keras.KerasTensor:
            dtype = keras.backend.standardize_dtype(array.dtype)
            return keras.KerasTensor((size, *array.shape[1:]), dtype)

        return keras.tree.map_structure(spec, self._arrays)

    def __len__(self) -> int:
        full, remainder = divmod(self._examples, self._batch_size)
        return full + (remainder > 0 and not self._drops)

    def on_epoch_begin(self) -> None:
        """Count the epochs."""
        self._epochs += 1

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, index: int) -> Any:
        own = slice(index * self._batch_size, (index + 1) * self._batch_size)
        if self._seed is None:
            return keras.tree.map_structure(lambda one: one[own], self._arrays)
        if index == 0 or self._order is None:
            # a resumed run does not read the epochs that it leaves out
            self._passes = max(self._passes + 1, self._epochs)
            generator = np.random.default_rng([self._seed, self._passes])
            self._order = generator.permutation(self._examples)
        rows = self._order[own]
        return keras.tree.map_structure(lambda one: one[rows], self._arrays)


def _as_array(array: Any) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind == "f":
        array = np.asarray(array, keras.config.floatx())
    return array
