"""Blocks of one length, filled with documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks
from keras_ssl.data._row_batches import batched, in_order
from keras_ssl.text._rows import FlatRows
from keras_ssl.text._texts import texts_or_ids

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_ssl.text.base_tokenizer import BaseTokenizer


def packed_blocks(
    documents: Iterable[Any],
    tokenizer: BaseTokenizer,
    length: int,
    batch_size: int,
    split_documents: bool = True,
    end_token: bool = True,
    document_ids: bool = True,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch blocks that documents fill one after the other, so that little is padding.

    Every token of every document is in exactly one block. `"document_ids"` tell which tokens of a
    block belong together: attention should stay within a document, which
    `document_ids[:, :, None] == document_ids[:, None, :]` says.

    Args:
        documents: strings, or their ids. Documents without tokens are left out if `end_token` is
            false.
        tokenizer: a `text.Tokenizer` or another one of this package.
        length: number of tokens of a block.
        batch_size: number of blocks per batch.
        split_documents: whether a document goes on in the next block where a block is full; only
            the last block has padding then. Otherwise a document that does not fit begins the
            next block, and only those longer than a block are split.
        end_token: whether to put the tokenizer's end token after each document.
        document_ids: whether batches have `"document_ids"`. Without, a model attends to the
            documents before, as GPT-2 does, and so KerasHub's GPT-2 takes the batches.
        shuffle: whether to shuffle the blocks before each epoch.
        seed: integer seed of the shuffling.
        drop_remainder: whether to drop a smaller last batch.

    Returns:
        `tf.data.Dataset` of `{"token_ids": int32, "padding_mask": bool, "document_ids": int32}`,
        each of shape `(batch, length)`. Documents are numbered from 1 in each block; 0 is padding.

    Raises:
        TypeError: if `documents` is one string, or holds something else than strings or ids.
        ValueError: if there is no document or no token, the tokenizer has no end token, or an id
            is outside of the vocabulary.

    Example:

    >>> from keras_ssl import text
    >>> documents = ["to be or not to be", "that is", "the question"]
    >>> tokenizer = text.VocabularyTokenizer.words(documents)
    >>> batch = next(iter(text.packed_blocks(documents, tokenizer, length=7, batch_size=2)))
    >>> batch["document_ids"].numpy()
    array([[1, 1, 1, 1, 1, 1, 1],
           [1, 1, 1, 2, 2, 2, 0]], dtype=int32)
    """
    length = checks.integer("length", length, minimum=1)
    end = [tokenizer.end_token_id] if end_token else []
    encoded = texts_or_ids("documents", documents, tokenizer)
    encoded = [np.concatenate([one, np.asarray(end, np.int32)]) for one in encoded]
    encoded = [one for one in encoded if len(one)]
    if not encoded:
        raise ValueError("`documents` must have tokens. Received: empty documents")
    sizes = np.array([len(one) for one in encoded], np.int64)
    columns = {"document_ids": np.repeat(np.arange(len(sizes)), sizes)} if document_ids else {}
    blocks = FlatRows(np.concatenate(encoded), length, tokenizer.pad_token_id, columns)
    edges = _edges(sizes, length, split_documents)

    def to_batch(some: tf.Tensor) -> dict[str, tf.Tensor]:
        import tensorflow as tf

        start, end = tf.gather(edges, some), tf.gather(edges, some + 1)
        batch = blocks.gather(start, end - start)
        if document_ids:
            documents = batch["document_ids"]
            numbers = documents - documents[:, :1] + 1
            batch["document_ids"] = tf.where(batch["padding_mask"], numbers, 0)
        return batch

    numbers = in_order(len(edges) - 1, shuffle, seed)
    return batched(numbers, to_batch, batch_size, drop_remainder)


def _edges(sizes: np.ndarray, length: int, split_documents: bool) -> np.ndarray:
    """Return the places in the row of all documents where blocks begin, and its end."""
    total = int(sizes.sum())
    if split_documents:
        return np.append(np.arange(0, total, length), total)
    edges, place = [0], 0
    for size in sizes.tolist():
        if place > edges[-1] and place + size > edges[-1] + length:
            edges.append(place)
        while place + size > edges[-1] + length:
            edges.append(edges[-1] + length)
        place += size
    return np.array([*edges, total])
