"""Checks of texts and of token ids, which every function of this room takes."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def check_text(name: str, number: int, value: Any) -> None:
    """Raise a `TypeError` unless an entry of `name` is a string."""
    if not isinstance(value, str):
        hint = ", which `.decode()` makes a string" if isinstance(value, bytes) else ""
        raise TypeError(
            f"`{name}` must hold strings. Received: {name}[{number}]={value!r} of type "
            f"{type(value).__name__}{hint}"
        )


def check_ids(name: str, ids: Any, vocabulary_size: int) -> np.ndarray:
    """Return token ids as int32 `(tokens,)`, if they are in the vocabulary."""
    ids = np.asarray(ids)
    if ids.size == 0 and ids.ndim == 1:
        return ids.astype(np.int32)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(
            f"`{name}` must be integers of shape (tokens,). Received: an array of shape "
            f"{ids.shape} and dtype {ids.dtype}"
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocabulary_size:
        raise ValueError(
            f"`{name}` must be in the vocabulary, from 0 to {vocabulary_size - 1}. Received: the "
            f"id {low if low < 0 else high}"
        )
    return ids.astype(np.int32)


def check_iterable(name: str, texts: Any, of: str = "strings") -> None:
    """Raise a `TypeError` if one string, or what cannot be iterated, came in place of many."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        hint = ". For files use `text.Lines(path)`" if isinstance(texts, str) else ""
        shown = repr(texts) if len(repr(texts)) < 60 else repr(texts)[:60] + "..."
        raise TypeError(
            f"`{name}` must be an iterable of {of}{hint}. Received: {name}={shown} of type "
            f"{type(texts).__name__}"
        )


def texts_or_ids(name: str, texts: Any, tokenizer: Any) -> list[np.ndarray]:
    """Return the ids of texts; those that are ids already are checked.

    Raises:
        TypeError: if `texts` is one string or holds something else.
        ValueError: if there is no text, or an id is outside of the vocabulary.
    """
    check_iterable(name, texts)
    texts = list(texts)
    if not texts:
        raise ValueError(f"`{name}` must hold at least one text. Received: nothing")
    if all(isinstance(one, str) for one in texts):
        return tokenizer.encode(texts)
    for number, one in enumerate(texts):
        if not isinstance(one, np.ndarray | list | tuple):
            check_text(name, number, one)
    if any(isinstance(one, str) for one in texts):
        raise TypeError(f"`{name}` must hold strings or ids. Received: both")
    return [check_ids(name, one, tokenizer.vocabulary_size) for one in texts]
