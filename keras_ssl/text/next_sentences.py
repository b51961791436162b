"""Pairs of sentences that follow each other or do not, for BERT's next-sentence prediction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks
from keras_ssl.data._row_batches import batched, in_order, shuffled
from keras_ssl.text._texts import check_iterable, texts_or_ids

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_ssl.text.base_tokenizer import BaseTokenizer


def next_sentence_batches(
    documents: Iterable[Iterable[Any]],
    tokenizer: BaseTokenizer,
    length: int,
    batch_size: int,
    join_sentences: bool = True,
    segment_ids: bool | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch pairs of sentences, of which in half of the pairs the second follows the first.

    In an epoch each sentence that has a next one is once the first of a pair. In half of these
    pairs, drawn anew for each epoch, the second is the next sentence; in the others, it is one of
    another document, also drawn for each epoch.

    Args:
        documents: texts as lists of sentences in order, such as `text.Lines(path).documents()`; a
            sentence is a string, or its ids. Sentences without tokens are left out.
        tokenizer: a `text.Tokenizer` or another one of this package.
        length: number of tokens of every pair, special tokens included. Each of the two sentences
            is cut to half of the room.
        batch_size: number of pairs per batch.
        join_sentences: whether sentences that follow each other are joined as long as they fit
            into half of a pair, as BERT does, so that pairs fill their length. A document of
            several sentences stays in at least two parts.
        segment_ids: as in `batches`.
        shuffle: whether to shuffle the pairs before each epoch.
        seed: integer seed of all that is drawn.
        drop_remainder: whether to drop a smaller last batch.

    Returns:
        `tf.data.Dataset` of `{"token_ids": int32, "padding_mask": bool, "segment_ids": int32}`,
        each of shape `(batch, length)`, and `"is_next": int32` of shape `(batch,)`, which is 1 if
        the second sentence follows the first, otherwise 0.

    Raises:
        TypeError: if `documents` are not lists of sentences.
        ValueError: if no document has two sentences, if there is only one document, or if `length`
            has no room for two sentences beside the special tokens.

    Example:

    >>> from keras_ssl import text
    >>> documents = [["It was late.", "She slept."], ["Add salt.", "Stir well.", "Serve."]]
    >>> tokenizer = text.VocabularyTokenizer.words([one for some in documents for one in some])
    >>> data = text.next_sentence_batches(
    ...     documents, tokenizer, length=9, batch_size=2, join_sentences=False, seed=0
    ... )
    >>> sorted(next(iter(data)))
    ['is_next', 'padding_mask', 'token_ids']

    Reference:
        - [BERT (Devlin et al., 2018)](https://arxiv.org/abs/1810.04805)
    """
    frame = tokenizer.frame_of(pair=True)
    room = checks.integer("length", length, minimum=1) - frame.size
    if room < 2:
        raise ValueError(
            f"`length` must be at least {frame.size + 2}: {frame.size} special tokens and one of "
            f"each sentence. Received: length={length}"
        )
    documents = _encoded(documents, tokenizer)
    if join_sentences:
        documents = [_joined(sentences, room // 2) for sentences in documents]
    pairs = _SentencePairs(documents, tokenizer, length)
    with_segments = tokenizer.has_segments if segment_ids is None else segment_ids

    def to_batch(*drawn: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = pairs.batch(*drawn)
        if not with_segments:
            del batch["segment_ids"]
        return batch

    return batched(pairs.draw(shuffle, seed), to_batch, batch_size, drop_remainder)


class _SentencePairs:
    """Sentences of documents, and the pairs that an epoch makes of them.

    Args:
        documents: ids of the sentences of each document.
        tokenizer: the tokenizer, which has the special tokens.
        length: number of tokens of a pair.
    """

    def __init__(
        self, documents: list[list[np.ndarray]], tokenizer: BaseTokenizer, length: int
    ) -> None:
        import tensorflow as tf

        counts = np.array([len(sentences) for sentences in documents if sentences], np.int64)
        if len(counts) < 2 or counts.max() < 2:
            raise ValueError(
                "`documents` must be at least two, one of them with two sentences: half of the "
                "pairs are sentences that follow each other, and half are of two documents. "
                f"Received: {len(counts)} documents with text, of at most "
                f"{counts.max(initial=0)} sentences"
            )
        frame = tokenizer.frame_of(pair=True)
        self._length = length
        longest = (length - frame.size) // 2
        sentences = [one[:longest] for document in documents for one in document]
        # special tokens and padding are parts of a row like the sentences, and stand after these
        parts = [*sentences, *frame, [tokenizer.pad_token_id]]
        sizes = np.array([len(one) for one in parts], np.int64)
        ends = np.cumsum(counts)
        self._count = int(ends[-1])
        with tf.device("CPU"):
            self._tokens = tf.constant(np.concatenate([np.asarray(x, np.int32) for x in parts]))
            self._sizes = tf.constant(sizes)
            self._starts = tf.constant(np.cumsum(sizes) - sizes)
            self._firsts = tf.constant(np.delete(np.arange(self._count), ends - 1))
            # of the document of each sentence: its first sentence, and how many it has
            self._document = tf.constant(np.repeat(ends - counts, counts))
            self._document_size = tf.constant(np.repeat(counts, counts))

    def draw(self, shuffle: bool, seed: int | None) -> tf.data.Dataset:
        """Return the numbers that make the pairs of an epoch.

        All of them come from shuffling, whose orders a resumed run draws again.
        """
        import tensorflow as tf

        count = len(self._firsts)
        firsts = in_order(count, shuffle, seed)
        others, coins = shuffled(self._count, seed, stream=1), shuffled(count, seed, stream=2)
        return tf.data.Dataset.zip(firsts, others, coins)

    def batch(self, firsts: tf.Tensor, others: tf.Tensor, coins: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the pairs of a batch."""
        import tensorflow as tf

        is_next = coins % 2
        first = tf.gather(self._firsts, firsts)
        document, size = (tf.gather(one, first) for one in (self._document, self._document_size))
        # a number of all sentences becomes one of those outside of the document
        other = others * (self._count - size) // self._count
        other = tf.where(other < document, other, other + size)
        second = tf.where(is_next == 1, first + 1, other)
        return {**self._rows(first, second), "is_next": tf.cast(is_next, tf.int32)}

    def _rows(self, first: tf.Tensor, second: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the rows of pairs of sentences."""
        import tensorflow as tf

        before, between, after, pad = range(self._count, self._count + 4)
        place = tf.range(self._length, dtype=tf.int64)
        begin, segment = tf.constant(0, tf.int64), 0
        source = tf.fill([tf.size(first), self._length], self._starts[pad])
        for part in (before, first, between, second, after):
            start, size = (tf.gather(one, part) for one in (self._starts, self._sizes))
            if part is second:
                segment = tf.cast(place >= begin, tf.int32)
            start, end = tf.reshape(start, [-1, 1]), begin + tf.reshape(size, [-1, 1])
            source = tf.where((place >= begin) & (place < end), start + place - begin, source)
            begin = end
        mask = place < begin
        rows = {
            "token_ids": tf.gather(self._tokens, source),
            "padding_mask": mask,
            "segment_ids": tf.where(mask, segment, 0),
        }
        return {n: tf.ensure_shape(x, [first.shape[0], self._length]) for n, x in rows.items()}


def _encoded(documents: Iterable[Iterable[Any]], tokenizer: BaseTokenizer) -> list[list]:
    """Return the ids of the sentences of each document, without sentences that have none."""
    expected = "lists of sentences, one for each document"
    check_iterable("documents", documents, of=expected)
    documents = list(documents)
    for one in documents:
        check_iterable("documents", one, of=expected)
    documents = [list(one) for one in documents]
    sentences = [sentence for one in documents for sentence in one]
    encoded = iter(texts_or_ids("documents", sentences, tokenizer))
    return [[ids for ids in (next(encoded) for _ in one) if len(ids)] for one in documents]


def _joined(sentences: list[np.ndarray], room: int) -> list[np.ndarray]:
    """Join sentences that follow each other, so that each part fits and there are at least two."""
    room = min(room, sum(map(len, sentences)) // 2)
    parts, size = [], room
    for one in sentences:
        if size + len(one) > room:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += len(one)
    return [np.concatenate(part) for part in parts]
