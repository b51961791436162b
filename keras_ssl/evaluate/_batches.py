"""Data sets and arrays read as batches of `(x, y)`."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl._tensorflow import is_dataset, is_sparse_tensor
from keras_ssl.evaluate._labels import class_labels


class Batches:
    """Data that is checked once and then read as batches of `(x, y)`, any number of times.

    Args:
        data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `x` or `(x, y)`, or arrays:
            `x`, or a tuple `(x, y)`. `x` may be a dictionary of arrays. Sample weights in third
            place are ignored, except that rows of weight 0 of a graph do not count.
        name: name of the argument for error messages.
        batch_size: examples per batch of arrays. A data set has its own batches.
        labelled: whether labels are required, and checked to be classes; or a function of labels
            and `name` that checks and returns them.

    Raises:
        TypeError: if `data` is none of these, or its labels are neither integers nor strings.
        ValueError: if `data` is empty, unbatched or infinite, required labels are missing, or the
            numbers of labels and examples differ.
    """

    def __init__(
        self, data: Any, name: str, batch_size: int = 256, labelled: bool | Callable = False
    ):
        checks.training_backend()
        batch_size = checks.integer("batch_size", batch_size, minimum=1)
        self.name = name
        self.labelled = labelled
        if is_dataset(data):
            self._check_dataset(data)
            self._read = lambda: iter(data)
            batches = int(data.cardinality())
            self.count = batches if batches >= 0 else None
        elif isinstance(data, keras.utils.PyDataset):
            self.count = data.num_batches
            if not self.count:
                raise ValueError(
                    f"`{name}` must have a known, positive number of batches. "
                    f"Received: a PyDataset with num_batches={self.count}"
                )
            self._read = lambda: (data[i] for i in range(data.num_batches))
        else:
            rows, arrays = self._check_arrays(data)
            self.count = -(-rows // batch_size)
            self._read = lambda: (
                _rows(arrays, slice(start, start + batch_size))
                for start in range(0, rows, batch_size)
            )

    def __iter__(self) -> Iterator[tuple[Any, np.ndarray | None]]:
        """Yield batches of `(x, y)`, with `None` for missing labels."""
        for x, y, _ in self.with_weights():
            yield x, y

    def with_weights(self) -> Iterator[tuple[Any, np.ndarray | None, np.ndarray | None]]:
        """Yield batches of `(x, y, sample_weight)`, with `None` for what is missing."""
        empty = True
        for batch in self._read():
            x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
            y = self._labels(y, None if is_union(x) else rows_of(x))
            yield x, y, None if weights is None else np.asarray(weights)
            empty = False
        if empty:
            raise ValueError(f"`{self.name}` must hold at least one example. Received: no batch")

    def first(self) -> tuple[Any, np.ndarray | None]:
        """Return the first batch."""
        return next(iter(self))

    def _labels(self, y: Any, rows: int | None) -> np.ndarray | None:
        if y is None:
            if self.labelled:
                raise ValueError(
                    f"`{self.name}` must carry labels: batches of (x, y) or a tuple of arrays "
                    "(x, y). Received: x alone"
                )
            return None
        if not self.labelled:
            return np.asarray(y)
        y = (self.labelled if callable(self.labelled) else class_labels)(y, self.name)
        if rows is not None and len(y) != rows:
            raise ValueError(
                f"`{self.name}` must have one label per example. "
                f"Received: {rows} examples and {len(y)} labels"
            )
        return y

    def _check_dataset(self, data: Any) -> None:
        import tensorflow as tf

        if int(data.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                f"`{self.name}` must be finite to be evaluated. Drop `repeat()` or add `take(n)`. "
                f"Received: {data}"
            )
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data.element_spec)
        # only the node features of a graph have one row per example: it may have fewer edges
        examples = (x[0], None if is_union(x) else y) if is_graph(x) else (x, y)
        leaves = [leaf for leaf in keras.tree.flatten(examples) if leaf is not None]
        sizes = [leaf.shape[:1] for leaf in leaves if leaf.shape.rank is not None]
        known = {size[0] for size in sizes if size.rank == 1 and size[0] is not None}
        if any(size.rank == 0 for size in sizes) or len(known) > 1:
            raise ValueError(
                f"`{self.name}` must be batched: every element must have a first axis of examples. "
                f"Add `batch(256)`. Received: a data set with element_spec={data.element_spec}"
            )
        if self.labelled and y is None:
            self._labels(None, 0)

    def _check_arrays(self, data: Any) -> tuple[int, Any]:
        arrays = data if isinstance(data, tuple) else (data,)
        if not 1 <= len(arrays) <= 3 or arrays[0] is None:
            raise ValueError(
                f"`{self.name}` must be a batched data set or a tuple of arrays (x, y). "
                f"Received: a tuple of length {len(arrays)}"
            )
        # drop sample weights, and labels that are `None`
        arrays = tuple(array for array in arrays[:2] if array is not None)
        sizes = [len(array) for array in map(self._array, keras.tree.flatten(arrays))]
        if len(set(sizes)) != 1:
            raise ValueError(
                f"The arrays in `{self.name}` must have one length. Received: lengths {sizes}"
            )
        if sizes[0] == 0:
            raise ValueError(f"`{self.name}` must hold at least one example. Received: none")
        self._labels(arrays[1] if len(arrays) > 1 else None, sizes[0])
        return sizes[0], arrays

    def _array(self, array: Any) -> Any:
        if not hasattr(array, "shape") or not hasattr(array, "dtype") or len(array.shape) == 0:
            raise TypeError(
                f"`{self.name}` must be a batched tf.data.Dataset or PyDataset, an array x, or a "
                f"tuple of arrays (x, y). Received: {type(array).__name__}"
            )
        return array


def as_batches(
    data: Any, name: str, batch_size: int = 256, labelled: bool | Callable = False
) -> Batches:
    """Return `data` as `Batches`; `Batches` are returned unchanged."""
    return data if isinstance(data, Batches) else Batches(data, name, batch_size, labelled)


def rows_of(x: Any) -> int:
    """Return the number of examples in a batch."""
    return int(keras.tree.flatten(x)[0].shape[0])


def is_graph(x: Any) -> bool:
    """Return whether a batch is a graph `(x, a, ...)` with a sparse or edge-list adjacency."""
    if not isinstance(x, (tuple, list)) or len(x) < 2:
        return False
    return isinstance(x[1], dict) or is_sparse_tensor(x[1]) or is_union(x)


def is_union(x: Any) -> bool:
    """Return whether a batch is a disjoint union: a graph with each node's graph index after `a`.

    Its encoder may return one row per node or one row per graph.
    """
    if not isinstance(x, (tuple, list)) or len(x) < 3:
        return False
    return any(
        len(part.shape) == 1
        and keras.backend.is_int_dtype(keras.backend.standardize_dtype(part.dtype))
        for part in x[2:]
    )


def rows_that_count(x: Any, weights: np.ndarray | None, rows: int) -> np.ndarray | None:
    """Return booleans `(rows,)`: which rows of the features of a graph or union count.

    They are those of sample weight above 0, the seeds of sampled neighbors, the nodes of a split
    and the graphs of a padded union. Without weights, padding does not count. `None` means that all
    rows count.
    """
    if not is_graph(x):
        return None
    if weights is not None and weights.shape == (rows,):
        return weights != 0
    parts = [np.asarray(one) for one in x[2:] if len(one.shape) == 1]
    is_row = None
    for part in parts:
        if part.dtype == bool and len(part) == rows:
            is_row = part
        elif part.dtype.kind in "iu":
            is_row = part >= 0 if len(part) == rows else np.arange(rows) <= part.max(initial=-1)
    return is_row


class ShuffledArrays(keras.utils.PyDataset):
    """Batches of arrays in a new order every epoch, determined by the seed alone.

    `fit` shuffles arrays with TensorFlow's global generator, which belongs to the caller.

    Args:
        arrays: structure of arrays with equally many rows.
        batch_size: rows of a batch.
        seed: integer seed of the orders.
    """

    def __init__(self, arrays: Any, batch_size: int, seed: int):
        super().__init__()
        self._arrays = keras.tree.map_structure(np.asarray, arrays)
        self._batch_size = batch_size
        self._random = np.random.default_rng(seed)
        self._order = self._random.permutation(rows_of(self._arrays))

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> Any:
        start = index * self._batch_size
        rows = self._order[start : start + self._batch_size]
        return _rows(self._arrays, rows)

    def on_epoch_end(self) -> None:
        """Shuffle for the next epoch."""
        self._order = self._random.permutation(len(self._order))


def _rows(arrays: Any, rows: Any) -> Any:
    return keras.tree.map_structure(lambda array: array[rows], arrays)
