"""`word_windows`: words of a text with the words around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks
from keras_ssl.data._autotuning import without_autotuning

if TYPE_CHECKING:
    import tensorflow as tf

# words that are read at once
_BLOCK = 1 << 17


def word_windows(
    ids: Any,
    lengths: Any,
    window: int = 5,
    batch_size: int = 16,
    centers: int = 32,
    subsample: float | None = 1e-3,
    counts: Any = None,
    shrink: bool = True,
    shuffle: bool = True,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Batch the words of a text, each with a window of the words around it.

    An example is a row of `centers` words in the order of the text, with `window` more words at
    both ends; windows of neighbouring words overlap, so nothing is stored per pair. `left` and
    `right` say how many words before and after each of them are its contexts. A window ends with
    the line. As in word2vec,

    - a word that makes up the fraction f of the text is kept with probability
      min(1, √(t/f) + t/f), where t is `subsample`, and left out before windows are made, so that
      these reach farther;
    - each word has a window of its own size, uniformly drawn from 1 to `window`.

    Both are drawn anew in every epoch. An epoch has as many batches as words are expected to be
    kept, so its length is known: a schedule of the learning rate can end with training.

    Args:
        ids: indices of the words of the text, integers `(n,)`.
        lengths: how many of them each line holds, integers `(lines,)`. `WordVocabulary.encode`
            returns both.
        window: the largest number of contexts on each side, at least 1.
        batch_size: number of rows in a batch.
        centers: number of words in a row whose contexts are given.
        subsample: t, positive. `None` keeps all words.
        counts: how often each word of the vocabulary occurs, for the fractions f. `None` counts
            `ids`.
        shrink: whether windows have random sizes. Otherwise all have the size `window`.
        shuffle: whether the rows come in random order.
        seed: integer seed of all that is drawn.

    Returns:
        `tf.data.Dataset` of `(x,)`, where `x` is a dictionary of int32 tensors: `"words"`
        `(batch_size, centers + 2 * window)`, of which the first and last `window` are contexts
        only, and `"left"` and `"right"`, `(batch_size, centers)`. Padding has no contexts, and is
        the context of no word.

    Raises:
        TypeError: if `ids`, `lengths` or `counts` do not hold integers, or an argument is of the
            wrong type.
        ValueError: if the text is empty or no line has two words, an index is negative or outside
            of `counts`, `lengths` do not add up to the number of words, or a number is out of
            range.

    Example:

    >>> from keras_ssl import data
    >>> text = data.word_windows(
    ...     [0, 1, 2, 3, 4], [3, 2], window=2, batch_size=1, centers=6, subsample=None,
    ...     shrink=False, shuffle=False,
    ... )
    >>> ((x,),) = text
    >>> x["words"].numpy().tolist()
    [[0, 0, 0, 1, 2, 3, 4, 0, 0, 0]]
    >>> x["left"].numpy().tolist(), x["right"].numpy().tolist()
    ([[0, 1, 2, 0, 1, 0]], [[2, 1, 0, 1, 0, 0]])

    Reference:
        - [Mikolov et al., Distributed Representations of Words and Phrases and their
          Compositionality](https://arxiv.org/abs/1310.4546)
    """
    import tensorflow as tf

    ids, lengths = check_text(ids, lengths)
    window = checks.integer("window", window, minimum=1)
    batch_size = checks.integer("batch_size", batch_size, minimum=1)
    centers = checks.integer("centers", centers, minimum=1)
    if subsample is not None:
        subsample = checks.positive("subsample", subsample)
    kept = _share_kept(_check_counts(counts, ids), subsample)
    rows = _Rows(ids, lengths, kept, window, centers, shrink, shuffle)
    batches = max(1, round(rows.expected / batch_size))
    number = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
    data = number.flat_map(rows.blocks).rebatch(batch_size, drop_remainder=True).take(batches)
    data = data.map(lambda x: (x,)).apply(tf.data.experimental.assert_cardinality(batches))
    return without_autotuning(data.prefetch(tf.data.AUTOTUNE))


class _Rows:
    """A text as tensors, from which rows of words are made, a block of the text at a time."""

    def __init__(
        self,
        ids: np.ndarray,
        lengths: np.ndarray,
        kept: np.ndarray,
        window: int,
        centers: int,
        shrink: bool,
        shuffle: bool,
    ) -> None:
        import tensorflow as tf

        self.window, self.centers = window, centers
        self.shrink, self.shuffle = shrink, shuffle
        self.count = -(-len(ids) // _BLOCK)
        # a block ends with a row that is not full, half of it on average
        self.expected = kept[ids].sum(dtype="float64") / centers + (self.count - 1) / 2
        self.ids = tf.constant(ids)
        self.lines = tf.constant(np.repeat(np.arange(len(lengths), dtype="int32"), lengths))
        self.kept = tf.constant(kept)

    def blocks(self, number: tf.Tensor) -> tf.data.Dataset:
        """Return the rows of all blocks of the text, again and again, given a random number."""
        import tensorflow as tf

        return tf.data.Dataset.counter().map(lambda turn: self.rows(number, turn))

    def rows(self, number: tf.Tensor, turn: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the rows of one block."""
        import tensorflow as tf

        block = turn % self.count
        if self.shuffle:
            order = tf.stack([number, turn // self.count])
            last = tf.constant(self.count - 1, tf.int64)
            block = tf.random.experimental.index_shuffle(block, order, last)
        seeds = tf.unstack(tf.random.split(tf.stack([number, turn]), 3))
        words, lines = (one[block * _BLOCK :][:_BLOCK] for one in (self.ids, self.lines))
        chance = tf.random.stateless_uniform(tf.shape(words), seeds[0])
        is_kept = chance < tf.gather(self.kept, words)
        words, lines = tf.boolean_mask(words, is_kept), tf.boolean_mask(lines, is_kept)
        return self._arrange(words, *self._contexts(lines, seeds[1]), seeds[2])

    def _contexts(self, lines: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return how many contexts each word has on its left and on its right."""
        import tensorflow as tf

        count = tf.size(lines)
        place = tf.range(count)
        is_first = tf.concat([[True], lines[1:] != lines[:-1]], 0)[:count]
        line = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
        starts = tf.boolean_mask(place, is_first)
        ends = tf.concat([starts[1:], [count]], 0)
        size = tf.fill([count], self.window)
        if self.shrink:
            size = tf.random.stateless_uniform([count], seed, 1, self.window + 1, tf.int32)
        left = tf.minimum(size, place - tf.gather(starts, line))
        return left, tf.minimum(size, tf.gather(ends, line) - 1 - place)

    def _arrange(
        self, words: tf.Tensor, left: tf.Tensor, right: tf.Tensor, seed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Arrange words and their contexts in rows."""
        import tensorflow as tf

        rows = -(-tf.size(words) // self.centers)
        padding = rows * self.centers - tf.size(words)
        order = tf.range(rows)
        if self.shuffle:
            order = tf.argsort(tf.random.stateless_uniform([rows], seed))
        words = tf.pad(words, [[self.window, padding + self.window]])
        columns = tf.range(self.centers + 2 * self.window)
        words = tf.gather(words, (order * self.centers)[:, None] + columns)
        sizes = [
            tf.gather(tf.reshape(tf.pad(size, [[0, padding]]), [rows, self.centers]), order)
            for size in (left, right)
        ]
        return {"words": words, "left": sizes[0], "right": sizes[1]}


def _share_kept(counts: np.ndarray, subsample: float | None) -> np.ndarray:
    """Return the probability with which each word is kept."""
    if subsample is None:
        return np.ones(len(counts), "float32")
    ratio = subsample * counts.sum() / np.maximum(counts, 1)
    return np.minimum(np.sqrt(ratio) + ratio, 1.0).astype("float32")


def check_text(ids: Any, lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a text as arrays, or raise if no line has two words, or lengths do not fit."""
    ids, lengths = (_integers(*one) for one in (("ids", ids), ("lengths", lengths)))
    if not len(ids):
        raise ValueError("`ids` must hold the words of a text. Received: no words")
    if ids.min() < 0:
        raise ValueError(f"`ids` must not be negative. Received: {ids.min()}")
    if not len(lengths) or lengths.min() < 0 or lengths.sum() != len(ids):
        raise ValueError(
            f"`lengths` must be numbers of words that add up to the {len(ids)} words of `ids`. "
            f"Received: {len(lengths)} lines of {lengths.sum()} words"
        )
    if lengths.max() < 2:
        raise ValueError(
            "A word needs others in its line. Expected a line of at least 2 words of the "
            f"vocabulary. Received: {len(lengths)} lines of at most 1 word"
        )
    return ids.astype("int32"), lengths


def _check_counts(counts: Any, ids: np.ndarray) -> np.ndarray:
    if counts is None:
        return np.bincount(ids)
    counts = _integers("counts", counts)
    if ids.max() >= len(counts) or counts.min() < 0:
        raise ValueError(
            f"`ids` must be words of the vocabulary, 0 to {len(counts) - 1}, and `counts` not "
            f"negative. Received: ids up to {ids.max()}, counts from {counts.min()}"
        )
    return counts


def _integers(name: str, values: Any) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"`{name}` must be one list of integers. Received: shape {values.shape}")
    if values.dtype.kind not in "iu" and values.size:
        raise TypeError(f"`{name}` must be integers. Received: dtype {values.dtype}")
    return values.astype("int64")
