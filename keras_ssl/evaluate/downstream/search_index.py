"""Search for the nearest of many vectors."""

from __future__ import annotations

import json
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._forward import check_features
from keras_ssl.evaluate._units import unit_features
from keras_ssl.evaluate.downstream._device_store import BLOCK_ROWS, DeviceStore
from keras_ssl.evaluate.downstream._faiss_store import FaissStore

_METRICS = ("cosine", "inner_product", "l2")
_FORMAT = "keras_ssl.SearchIndex"
_VERSION = 1
_LARGEST = 1e16


class SearchIndex:
    r"""Index of vectors with ids, which finds the nearest ones to a query.

    The search is exact: products of blocks of queries and vectors on the device, of which the best
    are kept. Beside the vectors it needs some 40 MB, however many they are. Of equally near
    vectors, those added first come first. With `faiss`, an index of that library takes the place of
    the blocks; those other than `"Flat"` are faster and approximate.

    Similarities and distances are those of float32: vectors whose distances differ by less than its
    rounding may be in either order.

    Args:
        dim: width of the vectors.
        metric: `"cosine"` (vectors are stored with length 1), `"inner_product"`, or `"l2"`, the
            Euclidean distance.
        faiss: description of an index for `faiss.index_factory`, such as `"Flat"` or `"HNSW32"`. An
            index that must be trained is, on the first vectors that are added. `None` searches on
            the device. Needs `pip install 'keras-ssl[faiss]'`.

    Attributes:
        ids: the ids in the index, in the order in which they were added.

    Raises:
        ImportError: if faiss is asked for and not installed.
        ValueError: if an argument is not one of these.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> index = evaluate.SearchIndex(2)
    >>> index.add(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]), ids=[10, 11, 12])
    array([10, 11, 12])
    >>> similarities, ids = index.query(np.array([[0.0, 1.0]]), k=2)
    >>> ids, similarities.round(3)
    (array([[11, 12]]), array([[1.   , 0.707]], dtype=float32))
    >>> index.remove([11])
    >>> index.query(np.array([[0.0, 1.0]]), k=1)[1]
    array([[12]])

    Reference:
        [Johnson, Douze & Jégou, Billion-scale similarity search with GPUs](
        https://arxiv.org/abs/1702.08734), faiss
    """

    def __init__(self, dim: int, metric: str = "cosine", faiss: str | None = None):
        self.dim = checks.integer("dim", dim, minimum=1)
        if metric not in _METRICS:
            raise ValueError(f"`metric` must be one of {list(_METRICS)}. Received: {metric!r}")
        if faiss is not None and not isinstance(faiss, str):
            raise TypeError(
                f"`faiss` must be a description such as 'Flat', or None. Received: {faiss!r}"
            )
        checks.training_backend()
        self.metric, self.faiss = metric, faiss
        self._next_id = 0
        self._store = self._make_store()

    def _make_store(self, serialized: np.ndarray | None = None) -> DeviceStore | FaissStore:
        is_l2 = self.metric == "l2"
        if self.faiss is None:
            return DeviceStore(self.dim, is_l2)
        return FaissStore(self.dim, is_l2, self.faiss, serialized)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.ids)

    @property
    def ids(self) -> np.ndarray:
        """The ids in the index, in the order in which they were added."""
        return self._store.ids

    def add(self, vectors: Any, ids: Any = None) -> np.ndarray:
        """Add vectors. Many at a time are faster than one by one.

        Args:
            vectors: array `(n, dim)`.
            ids: different integers of at least 0, `(n,)`, none of which is in the index. `None`
                counts on from the largest one that was ever in it.

        Returns:
            The ids, an int64 array `(n,)`.

        Raises:
            TypeError: if ids are no integers.
            ValueError: if vectors are not finite, have another width or, with `metric="cosine"`,
                length 0, or ids are not different or in the index. Then nothing is added.
        """
        vectors = self._matrix(vectors, "vectors")
        ids = self._new_ids(ids, len(vectors))
        if not len(vectors):
            return ids
        parts = (
            self._prepare(vectors[start : start + BLOCK_ROWS], "vectors")
            for start in range(0, len(vectors), BLOCK_ROWS)
        )
        self._store.add(parts, ids)
        self._next_id = max(self._next_id, int(ids.max(initial=-1)) + 1)
        return ids

    def remove(self, ids: Any) -> None:
        """Remove vectors.

        Args:
            ids: their ids.

        Raises:
            TypeError: if ids are no integers.
            ValueError: if an id is not in the index, or the index of faiss cannot remove. Then
                nothing is removed.
        """
        ids = _integers(ids)
        missing = ids[~np.isin(ids, self.ids)]
        if len(missing):
            raise ValueError(
                f"`ids` must be in the index. Received: {missing[0]}"
                f"{f', and {len(missing) - 1} more' if len(missing) > 1 else ''}"
            )
        self._store.remove(ids)

    def query(self, vectors: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest vectors of the index to each query.

        Args:
            vectors: queries, array `(queries, dim)`, such as the features of
                `keras_ssl.evaluate.extract_features`.
            k: how many to return, at most `len(index)`.

        Returns:
            `(values, ids)`, both of shape `(queries, k)`, the nearest first: cosines, products or,
            with `metric="l2"`, distances in float32, and the ids in int64. An approximate index of
            faiss may find fewer; their ids are -1.

        Raises:
            ValueError: if queries are not finite, have another width or, with `metric="cosine"`,
                length 0, or there are fewer than `k` vectors.
        """
        k = checks.integer("k", k, minimum=1)
        queries = self._prepare(self._matrix(vectors, "vectors"), "vectors")
        if k > len(self):
            raise ValueError(
                "`k` must not exceed the number of vectors in the index. "
                f"Received: k={k} and {len(self)} vectors"
            )
        return self._store.search(queries, k)

    def save(self, path: str | PathLike) -> None:
        """Write the index to a file: a `.npz` of plain arrays, without pickle.

        A file of that name is replaced once the new one is complete.

        Args:
            path: name of the file.
        """
        path = Path(path)
        header = {
            "format": _FORMAT,
            "version": _VERSION,
            "dim": self.dim,
            "metric": self.metric,
            "faiss": self.faiss,
            "next_id": self._next_id,
        }
        unfinished = path.with_name(path.name + ".part")
        try:
            with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED, allowZip64=True) as file:
                _write(file, "header", np.array(json.dumps(header)))
                _write(file, "ids", self.ids)
                if isinstance(self._store, FaissStore):
                    _write(file, "faiss", self._store.serialize())
                else:
                    _write(file, "shift", self._store.shift)
                    for number, block in enumerate(self._store.vectors()):
                        _write(file, f"vectors_{number}", block)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | PathLike) -> SearchIndex:
        """Return the index in a file that `save` wrote.

        Args:
            path: name of the file.

        Returns:
            A `SearchIndex`, which answers queries as the one that was saved.

        Raises:
            FileNotFoundError: if there is no such file.
            ImportError: if it holds an index of faiss, and faiss is not installed.
            ValueError: if it is no index, incomplete, damaged, or of another version.
        """
        try:
            with zipfile.ZipFile(path) as file:
                return cls._read(file)
        except FileNotFoundError:
            raise
        except (zipfile.BadZipFile, OSError, EOFError, LookupError, ValueError, TypeError) as error:
            raise ValueError(
                "`path` must be a complete file that `SearchIndex.save` wrote, of version "
                f"{_VERSION}. Received: {str(path)!r}: {error}"
            ) from error

    @classmethod
    def _read(cls, file: zipfile.ZipFile) -> SearchIndex:
        header = json.loads(str(_read(file, "header")))
        if header["format"] != _FORMAT or header["version"] != _VERSION:
            raise ValueError(f"it is {header['format']!r} of version {header['version']}")
        index = cls(header["dim"], header["metric"], header["faiss"])
        ids = _integers(_read(file, "ids"))
        if index.faiss is None:
            count = -(-len(ids) // BLOCK_ROWS)
            blocks = (_read(file, f"vectors_{number}") for number in range(count))
            (shift,) = index._matrix(_read(file, "shift")[None], "shift")
            index._store.restore(shift, (index._matrix(one, "vectors") for one in blocks), ids)
        else:
            index._store = index._make_store(_read(file, "faiss"))
            index._store.ids = ids
        if index._store.count != len(ids):
            raise ValueError(f"it holds {index._store.count} vectors and {len(ids)} ids")
        index._next_id = header["next_id"]
        return index

    def _matrix(self, vectors: Any, name: str) -> np.ndarray:
        vectors = np.asarray(vectors, "float32")
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ValueError(
                f"`{name}` must have shape (n, {self.dim}), the width of the index. "
                f"Received: shape {vectors.shape}"
            )
        return vectors

    def _prepare(self, vectors: np.ndarray, name: str) -> np.ndarray:
        """Return checked vectors as they are stored."""
        if self.metric == "cosine":
            return unit_features(vectors, name)
        vectors = check_features(vectors, name)
        largest = max(vectors.max(), -vectors.min())
        if largest > _LARGEST:
            raise ValueError(
                f"`{name}` must be at most {_LARGEST:g}, so that products are float32. "
                f"Received: {largest:g}"
            )
        return vectors

    def _new_ids(self, ids: Any, count: int) -> np.ndarray:
        if ids is None:
            return np.arange(self._next_id, self._next_id + count)
        ids = _integers(ids)
        known = ids[np.isin(ids, self.ids)]
        if len(ids) != count or len(np.unique(ids)) != count or (ids < 0).any() or len(known):
            raise ValueError(
                f"`ids` must be {count} different integers of at least 0, one for each vector, "
                f"none of which is in the index. Received: {len(ids)} ids, "
                f"{len(np.unique(ids))} of them different, the smallest {ids.min(initial=0)}, "
                f"{len(known)} of them in the index"
            )
        return ids


def _integers(ids: Any) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu" and ids.size:
        raise TypeError(f"`ids` must be integers. Received: dtype {ids.dtype}")
    return ids.reshape(-1).astype("int64")


def _write(file: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, array, allow_pickle=False)


def _read(file: zipfile.ZipFile, name: str) -> np.ndarray:
    with file.open(f"{name}.npy") as entry:
        array = np.lib.format.read_array(entry, allow_pickle=False)
        entry.read()  # the end, where the checksum is compared
        return array
