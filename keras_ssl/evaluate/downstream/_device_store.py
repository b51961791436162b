"""Vectors on the device, and exact search among them."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from keras_ssl.evaluate.downstream._exact_float32 import exact_float32

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
        self._blocks: list[tf.Tensor] = []
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
        last = [self._blocks[-1].numpy()] if len(self.ids) % BLOCK_ROWS else []
        added = list(_blocks_of((*last, *map(self._with_norms, parts))))
        self._blocks[len(self._blocks) - len(last) :] = added
        self.ids = np.concatenate([self.ids, ids])

    def remove(self, ids: np.ndarray) -> None:
        """Remove the vectors with these ids."""
        keep = ~np.isin(self.ids, ids)
        old, self._blocks, self.ids = self._blocks, [], self.ids[keep]

        def kept() -> Iterator[np.ndarray]:
            for start in range(0, len(keep), BLOCK_ROWS):
                yield old.pop(0).numpy()[keep[start : start + BLOCK_ROWS]]

        self._blocks = list(_blocks_of(kept()))

    @property
    def count(self) -> int:
        """Number of vectors."""
        return sum(len(block) for block in self._blocks)

    def vectors(self) -> Iterator[np.ndarray]:
        """Yield the vectors as they are kept, less `shift`, block by block."""
        for block in self._blocks:
            yield block.numpy()[:, : self._dim]

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
            keys, count = tf.constant(keys), tf.constant(k)
            values = tf.fill([len(queries), k], float("-inf"))
            positions = tf.fill([len(queries), k], -1)
            for number, block in enumerate(self._blocks):
                start = tf.constant(number * BLOCK_ROWS)
                values, positions = _merge(values, positions, keys, block, start, count)
        values, positions = values.numpy(), positions.numpy()
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
            found[here] = tf.gather(self._blocks[number], rows[here]).numpy()[:, : self._dim]
        return found.reshape(*positions.shape, self._dim)

    def _with_norms(self, vectors: np.ndarray) -> np.ndarray:
        if not self._is_l2:
            return vectors
        norms = -0.5 * np.sum(np.square(vectors, dtype="float64"), axis=1, keepdims=True)
        return np.concatenate([vectors, norms.astype("float32")], axis=1)


def _blocks_of(parts: Iterable[np.ndarray]) -> Iterator[tf.Tensor]:
    """Yield the rows of all parts as tensors of BLOCK_ROWS rows, the last one of what is left.

    In contrast to `tf.constant`, `tf.convert_to_tensor` may keep the new array instead of a copy.
    """
    waiting, count = [], 0
    for part in parts:
        while len(part):
            some, part = part[: BLOCK_ROWS - count], part[BLOCK_ROWS - count :]
            waiting.append(some)
            count += len(some)
            if count == BLOCK_ROWS:
                yield tf.convert_to_tensor(np.concatenate(waiting))
                waiting, count = [], 0
    if waiting:
        yield tf.convert_to_tensor(np.concatenate(waiting))


@tf.function(reduce_retracing=True)
def _merge(
    values: tf.Tensor,
    positions: tf.Tensor,
    queries: tf.Tensor,
    block: tf.Tensor,
    start: tf.Tensor,
    k: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Merge the best values so far, and their positions, with those of a block.

    Ordering all scores takes longer than the product. But the k best of them lie in the k groups of
    neighbouring rows with the largest maxima, and most queries find nothing better in a block.
    """
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
