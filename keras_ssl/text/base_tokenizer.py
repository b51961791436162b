"""What all tokenizers have in common: ids of special tokens, checks, and static shapes."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.text._texts import check_ids, check_text, texts_or_ids

_ROLES = ("pad", "unknown", "start", "end", "mask")
_TEXTS_AT_ONCE = 10_000


class Frame(NamedTuple):
    """The special tokens around a text or a pair of texts.

    Attributes:
        before: ids in front.
        between: ids between the texts of a pair; empty for one text.
        after: ids at the end.
    """

    before: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of special tokens."""
        return sum(map(len, self))


class BaseTokenizer(abc.ABC):
    """Base class of the tokenizers: a map from texts to token ids and back.

    A tokenizer is called on texts to make a batch of static shape. It is a Keras object: as an
    argument of a model it is saved in the model's file. A subclass gives `vocabulary` and
    `special_tokens` to this constructor and defines `encode_texts`, `decode_ids`, `word_starts`
    and `get_config`.

    Args:
        vocabulary: the tokens in the order of their ids.
        special_tokens: tokens by role: `"pad"`, `"unknown"`, `"start"`, `"end"`, `"mask"`. Roles
            may be left out; asking for their ids is an error.

    Attributes:
        vocabulary: list of the tokens in the order of their ids.
        special_token_ids: sorted list of the ids of all special tokens.
        has_segments: whether batches have `"segment_ids"` unless told otherwise, as BERT needs
            them.

    Raises:
        ValueError: if a role is unknown, or a token is not in the vocabulary.

    Example:

    >>> from keras_ssl import text
    >>> tokenizer = text.VocabularyTokenizer.characters(["abc"])
    >>> isinstance(tokenizer, text.BaseTokenizer)
    True
    >>> tokenizer(["ab", "c"], length=4)["token_ids"]
    array([[2, 7, 6, 3],
           [2, 5, 3, 0]], dtype=int32)
    """

    has_segments = False

    def __init__(self, vocabulary: Sequence[str], special_tokens: Mapping[str, str]) -> None:
        self.vocabulary = list(vocabulary)
        self._ids = {token: number for number, token in enumerate(self.vocabulary)}
        for role, token in special_tokens.items():
            if role not in _ROLES:
                raise ValueError(
                    f"`special_tokens` must have the roles {', '.join(_ROLES)}. Received: {role!r}"
                )
            if token not in self._ids:
                raise ValueError(
                    f"`special_tokens` must be in the vocabulary. Received: {role}={token!r}, "
                    f"which is not one of its {len(self._ids)} tokens"
                )
        self._special = {role: self._ids[token] for role, token in special_tokens.items()}
        self.special_token_ids = sorted(set(self._special.values()))

    @abc.abstractmethod
    def encode_texts(self, texts: list[str]) -> list[np.ndarray]:
        """Return the int32 ids of each text, without special tokens around it."""

    @abc.abstractmethod
    def decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        """Return the text of ids that are in the vocabulary."""

    @property
    @abc.abstractmethod
    def word_starts(self) -> np.ndarray:
        """Whether each token of the vocabulary begins a word: booleans `(vocabulary_size,)`.

        Where it is false, the token continues the word of the token before it, so that a method
        can mask whole words. Special tokens stand for themselves.
        """

    @abc.abstractmethod
    def get_config(self) -> dict:
        """Return the constructor's arguments."""

    @classmethod
    def from_config(cls, config: dict) -> BaseTokenizer:
        """Make the tokenizer that `config` describes."""
        return cls(**config)

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, special ones included: all ids are below it."""
        return len(self.vocabulary)

    @property
    def pad_token_id(self) -> int:
        """Id at positions that do not count."""
        return self._special_id("pad")

    @property
    def unknown_token_id(self) -> int:
        """Id of what the vocabulary lacks."""
        return self._special_id("unknown")

    @property
    def start_token_id(self) -> int:
        """Id of the token at the start of a text: BERT's `[CLS]`."""
        return self._special_id("start")

    @property
    def end_token_id(self) -> int:
        """Id of the token at the end of a text: BERT's `[SEP]`, GPT-2's `<|endoftext|>`."""
        return self._special_id("end")

    @property
    def mask_token_id(self) -> int:
        """Id of the token in the place of hidden ones."""
        return self._special_id("mask")

    def has_role(self, role: str) -> bool:
        """Return whether there is a special token in a role, such as `"end"`."""
        return role in self._special

    def _special_id(self, role: str) -> int:
        if role not in self._special:
            present = [self.vocabulary[number] for number in self.special_token_ids]
            raise ValueError(
                f"The vocabulary must have a special token in the role {role!r}. Name one by "
                f"`special_tokens={{{role!r}: ...}}`, or train a tokenizer that has it. Received: "
                f"a vocabulary with the special tokens {present}"
            )
        return self._special[role]

    def encode(self, texts: str | Iterable[str]) -> Any:
        """Return the ids of texts, without special tokens around them.

        Args:
            texts: one string, or any number of them.

        Returns:
            An int32 array `(tokens,)` for one string, otherwise a list of them.

        Raises:
            TypeError: if something else than a string is among the texts.
        """
        if isinstance(texts, str):
            return self.encode_texts([texts])[0]
        encoded, texts = [], iter(texts)
        while some := list(itertools.islice(texts, _TEXTS_AT_ONCE)):
            for number, one in enumerate(some, start=len(encoded)):
                check_text("texts", number, one)
            encoded += self.encode_texts(some)
        return encoded

    def decode(self, ids: Any, skip_special_tokens: bool = True) -> Any:
        """Return the text of token ids.

        Args:
            ids: integers `(tokens,)`, or an array `(batch, tokens)` or list of such rows.
            skip_special_tokens: whether special tokens, padding among them, are left out.

        Returns:
            A string for ids of one text, otherwise a list of strings.

        Raises:
            TypeError: if `ids` are not integers.
            ValueError: if an id is outside of the vocabulary.
        """
        if ops.is_tensor(ids) or isinstance(ids, keras.Variable):
            ids = ops.convert_to_numpy(ids)
        is_batch = len(ids) > 0 and np.ndim(ids[0]) > 0
        rows = [check_ids("ids", row, self.vocabulary_size) for row in (ids if is_batch else [ids])]
        texts = [self.decode_ids(row.tolist(), bool(skip_special_tokens)) for row in rows]
        return texts if is_batch else texts[0]

    def pad(self, ids: Iterable[Any], length: int) -> dict[str, np.ndarray]:
        """Return rows of ids as one array with a mask.

        Args:
            ids: rows of integers, each of at most `length`.
            length: number of tokens of every row of the result.

        Returns:
            `{"token_ids": int32 (rows, length), "padding_mask": bool (rows, length)}`. The mask is
            true for what was in the rows, and false for the pad token after it.

        Raises:
            ValueError: if a row is longer than `length`, or an id is outside of the vocabulary.
        """
        length = checks.integer("length", length, minimum=1)
        rows = [check_ids("ids", row, self.vocabulary_size) for row in ids]
        longest = max(map(len, rows), default=0)
        if longest > length:
            raise ValueError(
                f"`ids` must have rows of at most `length` tokens, {length}. Received: a row of "
                f"{longest} tokens"
            )
        sizes = np.array([len(row) for row in rows], int)
        mask = np.arange(length) < sizes[:, None]
        token_ids = np.full(mask.shape, self._special_id("pad"), np.int32)
        token_ids[mask] = np.concatenate([np.empty(0, np.int32), *rows])
        return {"token_ids": token_ids, "padding_mask": mask}

    def __call__(
        self,
        texts: Iterable[Any],
        length: int,
        second: Iterable[Any] | None = None,
        special_tokens: bool = True,
        segment_ids: bool | None = None,
    ) -> dict[str, np.ndarray]:
        """Return a batch of texts, or of pairs of texts.

        Texts that are too long are cut at their end; of a pair, the longer one first. Special
        tokens are never cut.

        Args:
            texts: strings, or their ids.
            length: number of tokens of every row.
            second: the second texts of pairs.
            special_tokens: whether to put the special tokens around the texts that this tokenizer
                has for it, such as `[CLS] ... [SEP]` or `[CLS] ... [SEP] ... [SEP]`; without such
                a template, the start and end token as far as there are any.
            segment_ids: whether to return which text of a pair a token belongs to; `None`: if
                `has_segments`.

        Returns:
            `{"token_ids": int32, "padding_mask": bool}`, and with `segment_ids` (0 or 1)
            `"segment_ids": int32`; each of shape `(texts, length)`.
        """
        rows, segments = self.frame(texts, length, second, special_tokens)
        batch = self.pad(rows, length)
        if self.has_segments if segment_ids is None else segment_ids:
            batch["segment_ids"] = np.zeros_like(batch["token_ids"])
            batch["segment_ids"][batch["padding_mask"]] = np.concatenate([np.empty(0), *segments])
        return batch

    def frame(
        self,
        texts: Iterable[Any],
        length: int,
        second: Iterable[Any] | None = None,
        special_tokens: bool = True,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the ids of texts with special tokens around them, cut to a length.

        Args:
            texts: as in the call.
            length: largest number of tokens.
            second: as in the call.
            special_tokens: as in the call.

        Returns:
            Two lists of int32 arrays `(tokens,)`: ids, and which text they belong to.
        """
        frame = self.frame_of(pair=second is not None) if special_tokens else Frame()
        needed = frame.size + 1
        length = checks.integer("length", length, minimum=1)
        if length < needed:
            raise ValueError(
                f"`length` must be at least {needed}: {frame.size} special tokens and one of the "
                f"text. Received: length={length}"
            )
        firsts = texts_or_ids("texts", texts, self)
        if second is None:
            seconds = [np.empty(0, np.int32)] * len(firsts)
        else:
            seconds = texts_or_ids("second", second, self)
            _check_as_many("second", seconds, firsts)
        rows, segments = [], []
        for first, other in zip(firsts, seconds, strict=True):
            sizes = _cut_pair(len(first), len(other), length - frame.size)
            row = (frame.before, first[: sizes[0]], frame.between, other[: sizes[1]], frame.after)
            row = np.concatenate([np.asarray(part, np.int32) for part in row])
            in_second = 0 if second is None else sizes[1] + len(frame.after)
            rows.append(row)
            segments.append((np.arange(len(row)) >= len(row) - in_second).astype(np.int32))
        return rows, segments

    def frame_of(self, pair: bool = False) -> Frame:
        """Return the special tokens around one text or around a pair."""
        start, end = (
            (self._special[role],) if role in self._special else () for role in ("start", "end")
        )
        return Frame(start, end if pair else (), end)


def _check_as_many(name: str, values: Sequence[Any], texts: Sequence[Any]) -> None:
    if len(values) != len(texts):
        raise ValueError(
            f"`{name}` must have as many entries as `texts`, {len(texts)}. Received: {len(values)}"
        )


def _cut_pair(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how much of each text fits, if the longer one is cut first."""
    if first + second <= room:
        return first, second
    half, larger_half = room // 2, room - room // 2
    if first <= second:
        return (first, room - first) if first <= half else (half, larger_half)
    return (room - second, second) if second <= half else (larger_half, half)
