"""Batches of texts, one or several for each example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl.data._row_batches import batched, in_order
from keras_ssl.text._rows import TextRows

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_ssl.text.base_tokenizer import BaseTokenizer


def batches(
    texts: Iterable[Any],
    tokenizer: BaseTokenizer,
    length: int,
    batch_size: int,
    second: Iterable[Any] | None = None,
    labels: Sequence[Any] | None = None,
    special_tokens: bool = True,
    segment_ids: bool | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch texts, or pairs of texts such as a question and a passage, as token ids.

    Texts are encoded once, in this call, and kept as token ids. Those that are too long are cut at
    their end, of a pair the longer one first.

    Args:
        texts: strings, or what `tokenizer.encode` made of them.
        tokenizer: a `text.Tokenizer` or another one of this package.
        length: number of tokens of every text, special tokens included.
        batch_size: number of texts per batch.
        second: the second texts of pairs.
        labels: a label for each text.
        special_tokens: whether to put special tokens around the texts, as in the call of a
            tokenizer.
        segment_ids: whether batches have `"segment_ids"`; `None`: if the tokenizer is made for
            them, as BERT's is. KerasHub's encoders take exactly the inputs they were made for.
        shuffle: whether to shuffle the texts before each epoch.
        seed: integer seed of the shuffling.
        drop_remainder: whether to drop a smaller last batch.

    Returns:
        `tf.data.Dataset` of `{"token_ids": int32, "padding_mask": bool}`, with `"segment_ids"`
        (int32; 0, and 1 in the second text of a pair) where asked for; each of shape
        `(batch, length)`. With labels, of tuples of it and the labels.

    Raises:
        TypeError: if `texts` is one string, or holds something else than strings or ids.
        ValueError: if there is no text, one has no tokens, `length` has no room beside the special
            tokens, an id is outside of the vocabulary, or there are not as many labels as texts.

    Example:

    >>> from keras_ssl import text
    >>> reviews = ["a lovely film", "dull", "lovely"]
    >>> tokenizer = text.VocabularyTokenizer.words(reviews)
    >>> data = text.batches(reviews, tokenizer, length=6, batch_size=2, labels=[1, 0, 1])
    >>> x, y = next(iter(data))
    >>> x["token_ids"].numpy()
    array([[2, 8, 5, 6, 3, 0],
           [2, 7, 3, 0, 0, 0]], dtype=int32)
    """
    special = {"special_tokens": special_tokens, "segment_ids": segment_ids}
    rows, count = _text_rows(texts, tokenizer, length, second, **special)
    numbers = in_order(count, shuffle, seed)
    if labels is None:
        return batched(numbers, rows.texts, batch_size, drop_remainder)
    labels = _labels(labels, count)

    def to_batch(some: tf.Tensor) -> tuple:
        import tensorflow as tf

        return rows.texts(some), tf.gather(labels, some)

    return batched(numbers, to_batch, batch_size, drop_remainder)


def parallel_batches(
    texts: Mapping[str, Iterable[Any]],
    tokenizer: BaseTokenizer | Mapping[str, BaseTokenizer],
    length: int | Mapping[str, int],
    batch_size: int,
    special_tokens: bool = True,
    segment_ids: bool | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch examples of several texts that stay apart, such as a sentence and its translation.

    Args:
        texts: strings by name, equally many under each: `{"source": ..., "target": ...}` for
            translation, `{"anchor": ..., "positive": ...}` for pairs of equal meaning.
        tokenizer: one for all, or one for each name.
        length: number of tokens, one for all or for each name.
        batch_size: number of examples per batch.
        special_tokens: as in `batches`.
        segment_ids: as in `batches`.
        shuffle: whether to shuffle the examples before each epoch.
        seed: integer seed of the shuffling.
        drop_remainder: whether to drop a smaller last batch.

    Returns:
        `tf.data.Dataset` of dictionaries with the names of `texts`, each of which holds
        `{"token_ids": int32, "padding_mask": bool}` of shape `(batch, length)`, with
        `"segment_ids"` where asked for.

    Raises:
        TypeError: if `texts` is no dictionary, or holds something else than strings or ids.
        ValueError: as in `batches`, if there are not equally many texts under each name, or a name
            has no tokenizer or length.

    Example:

    >>> from keras_ssl import text
    >>> pairs = {"source": ["el barco", "la casa"], "target": ["the boat", "the house"]}
    >>> tokenizer = text.VocabularyTokenizer.words([*pairs["source"], *pairs["target"]])
    >>> data = text.parallel_batches(pairs, tokenizer, length=4, batch_size=2)
    >>> batch = next(iter(data))
    >>> tokenizer.decode(batch["target"]["token_ids"])
    ['the boat', 'the house']
    """
    if not isinstance(texts, Mapping) or not texts:
        raise TypeError(
            "`texts` must be a dictionary of texts by name. Received: texts of type "
            f"{type(texts).__name__}"
        )
    special = {"special_tokens": special_tokens, "segment_ids": segment_ids}
    made = {
        name: _text_rows(
            some, _of(name, "tokenizer", tokenizer), _of(name, "length", length), **special
        )
        for name, some in texts.items()
    }
    rows, counts = ({name: one[part] for name, one in made.items()} for part in (0, 1))
    if len(set(counts.values())) > 1:
        raise ValueError(f"`texts` must be equally many under each name. Received: {counts}")

    def to_batch(some: tf.Tensor) -> dict[str, Any]:
        return {name: one.texts(some) for name, one in rows.items()}

    numbers = in_order(next(iter(counts.values())), shuffle, seed)
    return batched(numbers, to_batch, batch_size, drop_remainder)


def _text_rows(
    texts: Iterable[Any],
    tokenizer: BaseTokenizer,
    length: int,
    second: Iterable[Any] | None = None,
    special_tokens: bool = True,
    segment_ids: bool | None = None,
) -> tuple[TextRows, int]:
    """Return texts as rows of token ids, and how many there are."""
    rows, segments = tokenizer.frame(texts, length, second, special_tokens)
    with_segments = tokenizer.has_segments if segment_ids is None else segment_ids
    columns = {"segment_ids": segments} if with_segments else None
    return TextRows(rows, length, tokenizer.pad_token_id, columns), len(rows)


def _of(name: str, argument: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if name not in value:
        raise ValueError(
            f"`{argument}` must have an entry for each name of `texts`. Received: {list(value)}, "
            f"without {name!r}"
        )
    return value[name]


def _labels(labels: Sequence[Any], count: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim == 0 or len(labels) != count:
        raise ValueError(
            f"`labels` must have an entry for each of the {count} texts. Received: labels of "
            f"shape {labels.shape}"
        )
    return labels
