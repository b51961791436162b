"""Vectors in an index of faiss."""

from collections.abc import Iterable
from typing import Any

import numpy as np


class FaissStore:
    """Vectors with ids in an index of faiss, with the methods of `DeviceStore`.

    Args:
        dim: width of the vectors.
        is_l2: whether to search by Euclidean distances instead of products.
        description: description of the index for `faiss.index_factory`.
        serialized: bytes of an index that was saved, in place of an empty one.
    """

    def __init__(
        self, dim: int, is_l2: bool, description: str, serialized: np.ndarray | None = None
    ):
        faiss = _import_faiss()
        self._is_l2 = is_l2
        if serialized is not None:
            self._index = faiss.deserialize_index(serialized)
        else:
            metric = faiss.METRIC_L2 if is_l2 else faiss.METRIC_INNER_PRODUCT
            try:
                index = faiss.index_factory(dim, description, metric)
            except RuntimeError as error:
                raise ValueError(
                    "`faiss` must be a description that `faiss.index_factory` knows, such as "
                    f"'Flat'. Received: faiss={description!r}"
                ) from error
            self._index = faiss.IndexIDMap2(index)
        self.ids = np.empty(0, "int64")

    @property
    def count(self) -> int:
        """Number of vectors."""
        return self._index.ntotal

    def add(self, parts: Iterable[np.ndarray], ids: np.ndarray) -> None:
        """Add vectors, given in parts; the first ones also train an index that needs it."""
        vectors = np.ascontiguousarray(np.concatenate(list(parts)))
        if not self._index.is_trained:
            self._index.train(vectors)
        self._index.add_with_ids(vectors, ids)
        self.ids = np.concatenate([self.ids, ids])

    def remove(self, ids: np.ndarray) -> None:
        """Remove the vectors with these ids."""
        try:
            self._index.remove_ids(ids)
        except RuntimeError as error:
            raise ValueError(
                "This index of faiss removes no vectors: make another one of those that stay. "
                f"Received: {type(self._index.index).__name__}"
            ) from error
        self.ids = self.ids[~np.isin(self.ids, ids)]

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return products or distances, best first, and ids, both `(queries, k)`."""
        values, ids = self._index.search(queries, k)
        return (np.sqrt(np.maximum(values, 0.0)) if self._is_l2 else values), ids

    def serialize(self) -> np.ndarray:
        """Return the index as bytes."""
        return _import_faiss().serialize_index(self._index)


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "An index of faiss needs the package faiss: `pip install 'keras-ssl[faiss]'`. Without "
            "it, `faiss=None` searches exactly on the device."
        ) from error
    return faiss
