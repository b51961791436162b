"""Trees of sampled neighbours, by tensor operations whose shapes are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


def tree_edges(batch_size: int, fanouts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return senders and receivers of a forest in which each node has as many children as another.

    Nodes are numbered level by level, the roots first, children in the order of their parents.

    Args:
        batch_size: number of roots.
        fanouts: children of each node, for each level that has children.

    Returns:
        Senders (children) and receivers (parents), `(edges,)`, int32.
    """
    levels = batch_size * np.cumprod([1, *fanouts])
    n = int(levels.sum())
    parents = np.arange(n - int(levels[-1]), dtype=np.int32)
    children_of = np.repeat(np.asarray(fanouts, np.int64), levels[:-1])
    return np.arange(batch_size, n, dtype=np.int32), np.repeat(parents, children_of)


def tree_sizes(batch_size: int, fanouts: Sequence[int]) -> tuple[int, int]:
    """Return how many nodes and edges such a forest has.

    Args:
        batch_size: number of roots.
        fanouts: as in `tree_edges`.

    Returns:
        Numbers of nodes and edges.
    """
    n = sum(batch_size * math.prod(fanouts[:level]) for level in range(len(fanouts) + 1))
    return n, n - batch_size


def distinct_places(counts: tf.Tensor, size: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw `size` distinct places below each count, every subset as likely as another.

    This is Floyd's algorithm, for all rows at once: of the j-th number, drawn below
    `count - size + j + 1`, the place is taken, or if it is taken already, the last one that could
    have been drawn. Where a count is not above `size`, all its places are taken.

    Args:
        counts: `(rows,)`, int32.
        size: how many places a row.
        seed: of `tf.random.stateless_uniform`.

    Returns:
        Places of shape `(rows, size)`, int32, and booleans of the same shape: whether there is
        such a place. Where not, the place is 0.

    Reference:
        - [Bentley & Floyd, A sample of brilliance, 1987](https://doi.org/10.1145/30401.315746)
    """
    import tensorflow as tf

    # float64 tells the places of every count apart
    uniform = tf.random.stateless_uniform([tf.size(counts), size], seed, dtype=tf.float64)
    order = tf.range(size)
    chosen: list[tf.Tensor] = []
    for j in range(size):
        last = tf.maximum(counts - size + j, 0)
        drawn = tf.cast(uniform[:, j] * tf.cast(last + 1, tf.float64), tf.int32)
        drawn = tf.minimum(drawn, last)
        is_taken = tf.zeros_like(drawn, tf.bool)
        for place in chosen:
            is_taken |= place == drawn
        chosen.append(tf.where(is_taken, last, drawn))
    few = counts[:, None] <= size
    places = tf.where(few, order, tf.stack(chosen, axis=1))
    exist = ~few | (order < counts[:, None])
    return tf.where(exist, places, 0), exist
