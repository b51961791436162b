"""Vectors on the device, and exact search among them."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl.evaluate._compiled import compiled
from keras_ssl.evaluate.downstream._exact_float32 import exact_float32

_JAX = keras.backend.backend() == "jax"
if _JAX:
    import jax
    from jax import numpy as jnp
else:
    import tensorflow as tf

BLOCK_ROWS = 4096
# a block of scores in float32 takes 8 MB; larger ones are a little faster, and take more memory
_QUERIES_AT_ONCE = 512
_GROUP_ROWS = 32
# 2^20 entries in float32 take 4 MB
_ENTRIES_AT_ONCE = 2**20


class DeviceStore:
    """Vectors with ids in blocks on the device; exact search, a product per block.

    Vectors are ordered by their product with the query. For Euclidean distances each vector v gets
    a further entry -|v|²/2 and each query a 1, so that the product has the order of the distances.
    They are kept less the mean of those added first, without which features far from 0 would lose
    the digits in which their distances differ.

    Args:
        dim: width of the vectors.
        is_l2: whether to search by Euclidean distances instead of products.
    """

    def __init__(self, dim: int, is_l2: bool):
        self._dim, self._is_l2 = dim, is_l2
        # all of BLOCK_ROWS rows but the last
        self._blocks: list[Any] = []
        self.ids = np.empty(0, "int64")
        self.shift = np.zeros(dim, "float32")

    def add(self, parts: Iterable[np.ndarray], ids: np.ndarray) -> None:
        """Add vectors, given in parts, behind those that there are; all of them or none."""
        if self._is_l2 and not self._blocks:
            parts = iter(parts)
            first = next(parts)
            self.shift = first.mean(axis=0, dtype="float64").astype("float32")
            parts = itertools.chain([first], parts)
        self._add((part - self.shift if self._is_l2 else part for part in parts), ids)

    def restore(self, shift: np.ndarray, parts: Iterable[np.ndarray], ids: np.ndarray) -> None:
        """Take over what another store had as `shift`, `vectors()` and `ids`."""
        self.shift = shift
        self._add(parts, ids)

    def _add(self, parts: Iterable[np.ndarray], ids: np.ndarray) -> None:
        last = [np.asarray(self._blocks[-1])] if len(self.ids) % BLOCK_ROWS else []
        added = list(_blocks_of((*last, *map(self._with_norms, parts))))
        self._blocks[len(self._blocks) - len(last) :] = added
        self.ids = np.concatenate([self.ids, ids])

    def remove(self, ids: np.ndarray) -> None:
        """Remove the vectors with these ids."""
        keep = ~np.isin(self.ids, ids)
        old, self._blocks, self.ids = self._blocks, [], self.ids[keep]

        def kept() -> Iterator[np.ndarray]:
            for start in range(0, len(keep), BLOCK_ROWS):
                yield np.asarray(old.pop(0))[keep[start : start + BLOCK_ROWS]]

        self._blocks = list(_blocks_of(kept()))

    @property
    def count(self) -> int:
        """Number of vectors."""
        return sum(len(block) for block in self._blocks)

    def vectors(self) -> Iterator[np.ndarray]:
        """Yield the vectors as they are kept, less `shift`, block by block."""
        for block in self._blocks:
            yield np.asarray(block)[:, : self._dim]

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return products or distances, best first, and ids, both `(queries, k)`.

        Of equally near vectors, those added first are returned.
        """
        parts = [
            self._search(queries[start : start + _QUERIES_AT_ONCE], k)
            for start in range(0, len(queries), _QUERIES_AT_ONCE)
        ]
        values, positions = (np.concatenate(part) for part in zip(*parts, strict=True))
        return values, self.ids[positions]

    def _search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        queries = keys = queries - self.shift if self._is_l2 else queries
        with exact_float32():
            if self._is_l2:
                keys = np.concatenate([queries, np.ones((len(queries), 1), "float32")], axis=1)
            keys = ops.convert_to_tensor(keys)
            values = ops.full((len(queries), k), float("-inf"))
            positions = ops.full((len(queries), k), -1, "int32")
            for number, block in enumerate(self._blocks):
                start = ops.convert_to_tensor(number * BLOCK_ROWS, "int32")
                values, positions = _merge(values, positions, keys, block, start)
        values, positions = np.asarray(values), np.asarray(positions)
        return self._distances(queries, positions) if self._is_l2 else (values, positions)

    def _distances(
        self, queries: np.ndarray, positions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return distances in order. From products they would lose the digits of near vectors."""
        rows = max(1, _ENTRIES_AT_ONCE // (positions.shape[1] * self._dim))
        distances = np.concatenate(
            [
                np.linalg.norm(self._gather(some) - queries[start : start + rows, None], axis=2)
                for start in range(0, len(queries), rows)
                for some in [positions[start : start + rows]]
            ]
        )
        order = np.argsort(distances, axis=1, kind="stable")
        return tuple(np.take_along_axis(one, order, axis=1) for one in (distances, positions))

    def _gather(self, positions: np.ndarray) -> np.ndarray:
        found = np.empty((positions.size, self._dim), "float32")
        blocks, rows = np.divmod(positions.reshape(-1), BLOCK_ROWS)
        for number in np.unique(blocks):
            here = blocks == number
            found[here] = _take(self._blocks[number], rows[here])[:, : self._dim]
        return found.reshape(*positions.shape, self._dim)

    def _with_norms(self, vectors: np.ndarray) -> np.ndarray:
        if not self._is_l2:
            return vectors
        norms = -0.5 * np.sum(np.square(vectors, dtype="float64"), axis=1, keepdims=True)
        return np.concatenate([vectors, norms.astype("float32")], axis=1)


def _blocks_of(parts: Iterable[np.ndarray]) -> Iterator[Any]:
    """Yield the rows of all parts as tensors of BLOCK_ROWS rows, the last one of what is left.

    In contrast to `tf.constant`, `ops.convert_to_tensor` may keep the new array instead of a copy.
    """
    waiting, count = [], 0
    for part in parts:
        while len(part):
            some, part = part[: BLOCK_ROWS - count], part[BLOCK_ROWS - count :]
            waiting.append(some)
            count += len(some)
            if count == BLOCK_ROWS:
                yield ops.convert_to_tensor(np.concatenate(waiting))
                waiting, count = [], 0
    if waiting:
        yield ops.convert_to_tensor(np.concatenate(waiting))


if _JAX:

    def _take(block, rows):
        # numbers of rows, for each of which a gather is compiled, are powers of two
        padded = np.zeros(1 << (len(rows) - 1).bit_length(), "int32")
        padded[: len(rows)] = rows
        return np.asarray(jnp.take(block, padded, axis=0))[: len(rows)]

    def _merge(values, positions, queries, block, start):
        # of one size, for which it is compiled
        rows = len(block)
        block = jnp.pad(block, [(0, BLOCK_ROWS - rows), (0, 0)]) if rows < BLOCK_ROWS else block
        return _merge_padded(values, positions, queries, block, start, rows)

    @compiled()
    def _merge_padded(values, positions, queries, block, start, rows):
        """Merge the best values so far, and their positions, with those of rows of a block."""
        k = values.shape[1]
        scores = jnp.where(jnp.arange(BLOCK_ROWS) < rows, jnp.matmul(queries, block.T), -jnp.inf)
        # of equal ones the first
        found, places = jax.lax.top_k(scores, min(k, BLOCK_ROWS))
        found = jnp.concatenate([values, found], axis=1)
        places = jnp.concatenate([positions, start + places], axis=1)
        found, order = jax.lax.top_k(found, k)
        return found, jnp.take_along_axis(places, order, axis=1)

else:

    def _take(block, rows):
        return tf.gather(block, rows).numpy()

    @compiled()
    def _merge(values, positions, queries, block, start):
        """Merge the best values so far, and their positions, with those of a block.

        Ordering all scores takes longer than the product. But the k best of them lie in the k
        groups of neighbouring rows with the largest maxima, and most queries find nothing better
        in a block.
        """
        k = tf.shape(values)[1]
        scores = tf.matmul(queries, block, transpose_b=True)
        lacking = -tf.shape(scores)[1] % _GROUP_ROWS
        scores = tf.cond(
            lacking > 0,
            lambda: tf.pad(scores, [[0, 0], [0, lacking]], constant_values=float("-inf")),
            lambda: scores,
        )
        count = tf.shape(scores)[1] // _GROUP_ROWS
        groups = tf.reshape(scores, [-1, _GROUP_ROWS])
        maxima = tf.reshape(tf.reduce_max(groups, axis=1), [-1, count])
        # of equal ones the first stay
        better = tf.reduce_max(maxima, axis=1) > values[:, -1]
        queries = tf.cast(tf.where(better)[:, 0], tf.int32)
        best = tf.math.top_k(tf.gather(maxima, queries), tf.minimum(k, count), sorted=False)[1]
        # in the order of positions, so that of equal scores the first is taken here too
        best = tf.sort(best, axis=1)
        found = tf.gather(groups, queries[:, None] * count + best)
        found = tf.reshape(found, [tf.size(queries), tf.shape(best)[1] * _GROUP_ROWS])
        found, places = tf.math.top_k(found, tf.minimum(k, tf.shape(found)[1]))
        places = (
            start
            + _GROUP_ROWS * tf.gather(best, places // _GROUP_ROWS, batch_dims=1)
            + (places % _GROUP_ROWS)
        )
        found = tf.concat([tf.gather(values, queries), found], axis=1)
        places = tf.concat([tf.gather(positions, queries), places], axis=1)
        found, order = tf.math.top_k(found, k)
        places = tf.gather(places, order, batch_dims=1)
        queries = queries[:, None]
        return (
            tf.tensor_scatter_nd_update(values, queries, found),
            tf.tensor_scatter_nd_update(positions, queries, places),
        )
