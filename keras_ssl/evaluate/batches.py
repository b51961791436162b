"""Labelled data in whatever form a Keras user holds it, read batch by batch."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ssl import checks


class Batches:
    """Data checked once, then read as batches of `(x, y)` as often as wished.

    Args:
        data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` that gives `x` or `(x, y)`,
            or arrays: `x`, or a tuple `(x, y)`. `x` may be a dictionary of arrays; sample weights
            in third place are ignored.
        name: what error messages call `data`.
        batch_size: examples a batch; used for arrays only, a data set has its own batches.
        labelled: whether `data` must carry labels.

    Raises:
        TypeError: if `data` is none of these, or its labels are not integers.
        ValueError: if `data` is empty, not batched or endless, has no labels though `labelled`, or
            has another number of labels than of examples.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.evaluate.batches import Batches
    >>> batches = Batches((np.zeros((5, 3)), np.arange(5)), "train", batch_size=2)
    >>> [(x.shape, y.shape) for x, y in batches]
    [((2, 3), (2,)), ((2, 3), (2,)), ((1, 3), (1,))]
    """

    def __init__(self, data: Any, name: str, batch_size: int = 256, labelled: bool = False):
        batch_size = checks.integer("batch_size", batch_size, minimum=1)
        self.name = name
        self.labelled = labelled
        if isinstance(data, tf.data.Dataset):
            self._check_dataset(data)
            self._read = lambda: iter(data)
            batches = int(data.cardinality())
            self.count = batches if batches >= 0 else None
        elif isinstance(data, keras.utils.PyDataset):
            self.count = data.num_batches
            if not self.count:
                raise ValueError(
                    f"`{name}` must have a known number of batches and not be empty. "
                    f"Received: a PyDataset with num_batches={self.count}"
                )
            self._read = lambda: (data[i] for i in range(data.num_batches))
        else:
            rows, arrays = self._check_arrays(data)
            self.count = -(-rows // batch_size)
            self._read = lambda: (
                _rows(arrays, start, start + batch_size) for start in range(0, rows, batch_size)
            )

    def __iter__(self) -> Iterator[tuple[Any, np.ndarray | None]]:
        """Give `(x, y)` batch by batch; `y` is `None` where there are no labels."""
        empty = True
        for batch in self._read():
            x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
            yield x, self._labels(y, None if is_union(x) else rows_of(x))
            empty = False
        if empty:
            raise ValueError(f"`{self.name}` must hold at least one example. Received: no batch")

    def first(self) -> tuple[Any, np.ndarray | None]:
        """The first batch, read to find mistakes early."""
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
        y = class_labels(y, self.name)
        if rows is not None and len(y) != rows:
            raise ValueError(
                f"`{self.name}` must have one label an example. "
                f"Received: {rows} examples and {len(y)} labels"
            )
        return y

    def _check_dataset(self, data: tf.data.Dataset) -> None:
        if int(data.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                f"`{self.name}` must end: an endless data set cannot be evaluated. Drop `repeat()` "
                f"or add `take(n)`. Received: {data}"
            )
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data.element_spec)
        # of a graph the features of the nodes stand first: it has more or fewer edges than nodes
        examples = (x[0], None if is_union(x) else y) if is_graph(x) else (x, y)
        leaves = [leaf for leaf in keras.tree.flatten(examples) if leaf is not None]
        sizes = [leaf.shape[:1] for leaf in leaves if leaf.shape.rank is not None]
        known = {size[0] for size in sizes if size.rank == 1 and size[0] is not None}
        if any(size.rank == 0 for size in sizes) or len(known) > 1:
            raise ValueError(
                f"`{self.name}` must be batched: every element needs a first axis of examples. "
                f"Add `batch(256)`. Received: a data set of {data.element_spec}"
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
        # neither `None` in the place of labels nor weights are read
        arrays = tuple(array for array in arrays[:2] if array is not None)
        sizes = [len(array) for array in map(self._array, keras.tree.flatten(arrays))]
        if len(set(sizes)) != 1:
            raise ValueError(
                f"The arrays in `{self.name}` must have one length. Received lengths: {sizes}"
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


def as_batches(data: Any, name: str, batch_size: int = 256, labelled: bool = False) -> Batches:
    """Return `data` as `Batches`; what is `Batches` already comes back as it is."""
    return data if isinstance(data, Batches) else Batches(data, name, batch_size, labelled)


def rows_of(x: Any) -> int:
    """The number of examples in a batch."""
    return int(keras.tree.flatten(x)[0].shape[0])


def is_graph(x: Any) -> bool:
    """Whether a batch is a graph, `(x, a, ...)`, of which `a` is a list of edges or sparse."""
    if not isinstance(x, (tuple, list)) or len(x) < 2:
        return False
    return isinstance(x[1], (dict, tf.SparseTensor, tf.SparseTensorSpec)) or is_union(x)


def is_union(x: Any) -> bool:
    """Whether a batch is a union of graphs: the graph of each node, integers, follows `(x, a)`.

    An encoder of nodes has a row of features a node then, one of graphs a row a graph.
    """
    if not isinstance(x, (tuple, list)) or len(x) < 3:
        return False
    return any(len(part.shape) == 1 and tf.as_dtype(part.dtype).is_integer for part in x[2:])


class ShuffledArrays(keras.utils.PyDataset):
    """Arrays in batches, in another order every epoch, which the seed alone decides.

    `fit` shuffles arrays by TensorFlow's global generator, which belongs to the caller.

    Args:
        arrays: structure of arrays of one length.
        batch_size: examples a batch; the last may hold fewer.
        seed: of the orders.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.evaluate.batches import ShuffledArrays
    >>> batches = ShuffledArrays((np.arange(5), np.arange(5)), batch_size=2, seed=0)
    >>> sorted(int(label) for i in range(3) for label in batches[i][1])
    [0, 1, 2, 3, 4]
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
        return keras.tree.map_structure(lambda array: array[rows], self._arrays)

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        self._order = self._random.permutation(len(self._order))


def _rows(arrays: Any, start: int, stop: int) -> Any:
    return keras.tree.map_structure(lambda array: array[start:stop], arrays)


def class_labels(labels: Any, name: str) -> np.ndarray:
    """Labels as a NumPy vector of integers.

    Args:
        labels: array of shape `(n,)` or `(n, 1)`.
        name: what error messages call it.

    Raises:
        TypeError: if the labels are not integers.
        ValueError: if they have another shape, as one-hot labels do.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"The labels in `{name}` must be integers, the number of each example's class. "
            f"Received: dtype {labels.dtype}"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"The labels in `{name}` must have shape (examples,). One-hot labels: pass "
            f"`argmax(labels, axis=-1)`. Received: shape {labels.shape}"
        )
    return labels
