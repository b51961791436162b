"""Words or characters as tokens, by Keras' `TextVectorization`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.text._texts import check_iterable, check_text
from keras_ssl.text.base_tokenizer import BaseTokenizer
from keras_ssl.text.tokenizer import is_within_word

_PAD, _UNKNOWN = "", "[UNK]"  # of `TextVectorization`
_OWN = ["[START]", "[END]", "[MASK]"]
_SPECIAL = [_PAD, _UNKNOWN, *_OWN]
_STANDARDIZE = (None, "lower", "strip_punctuation", "lower_and_strip_punctuation")


@keras.saving.register_keras_serializable(package="keras_ssl")
class VocabularyTokenizer(BaseTokenizer):
    """A tokenizer with a list of words or characters, by `keras.layers.TextVectorization`.

    `words` and `characters` take the list from texts. The special tokens are padding, `[UNK]`,
    `[START]`, `[END]` and `[MASK]`, with ids 0 to 4.

    Args:
        words: the words or characters, without special tokens; their ids start at 5.
        split: `"whitespace"` or `"character"`, as in `TextVectorization`.
        standardize: `"lower"`, `"strip_punctuation"`, `"lower_and_strip_punctuation"`, or `None`
            for texts as they are.

    Raises:
        ValueError: if `words` are none, not distinct or special tokens, or an argument is unknown.

    Example:

    >>> from keras_ssl import text
    >>> tokenizer = text.VocabularyTokenizer(["the", "boat"])
    >>> tokenizer.encode("The boat, the ship")
    array([5, 6, 5, 1], dtype=int32)
    >>> tokenizer.decode([5, 6, 3])
    'the boat'
    >>> characters = text.VocabularyTokenizer.characters(["to be or not to be"])
    >>> characters.decode(characters.encode("to be"))
    'to be'
    """

    def __init__(
        self,
        words: Sequence[str],
        split: str = "whitespace",
        standardize: str | None = "lower_and_strip_punctuation",
    ) -> None:
        _check_options(split, standardize)
        check_iterable("words", words)
        words = list(words)
        for number, one in enumerate(words):
            check_text("words", number, one)
        distinct = set(words)
        if not words or len(distinct) < len(words) or distinct & set(_SPECIAL):
            raise ValueError(
                "`words` must be distinct strings, at least one, and no special tokens "
                f"{_SPECIAL}. Received: {len(words)} words, {len(distinct)} of them distinct, and "
                f"the special tokens {sorted(distinct & set(_SPECIAL))}"
            )
        self.split = split
        self.standardize = standardize
        self._layer = keras.layers.TextVectorization(
            standardize=standardize, split=split, vocabulary=_OWN + words
        )
        roles = dict(zip(("pad", "unknown", "start", "end", "mask"), _SPECIAL, strict=True))
        super().__init__(_SPECIAL + words, roles)

    @classmethod
    def words(
        cls,
        texts: Iterable[str],
        vocabulary_size: int | None = None,
        standardize: str | None = "lower_and_strip_punctuation",
    ) -> VocabularyTokenizer:
        """Take the most frequent words of texts.

        Args:
            texts: strings; `text.Lines(path)` for files.
            vocabulary_size: largest number of tokens, the five special ones included; `None` for
                all words.
            standardize: as in the constructor.

        Returns:
            A `VocabularyTokenizer` that splits at whitespace.

        Raises:
            TypeError: if `texts` is one string, or holds something else than strings.
            ValueError: if the texts have no words.
        """
        return cls._of_texts(texts, vocabulary_size, "whitespace", standardize)

    @classmethod
    def characters(
        cls,
        texts: Iterable[str],
        vocabulary_size: int | None = None,
        standardize: str | None = None,
    ) -> VocabularyTokenizer:
        """Take the most frequent characters of texts.

        Args:
            texts: strings; `text.Lines(path)` for files, which leaves out line ends.
            vocabulary_size: largest number of tokens, the five special ones included; `None` for
                all characters.
            standardize: as in the constructor.

        Returns:
            A `VocabularyTokenizer` that splits into characters.

        Raises:
            TypeError: if `texts` is one string, or holds something else than strings.
            ValueError: if the texts have no characters.
        """
        return cls._of_texts(texts, vocabulary_size, "character", standardize)

    @classmethod
    def _of_texts(
        cls, texts: Iterable[str], size: int | None, split: str, standardize: str | None
    ) -> VocabularyTokenizer:
        _check_options(split, standardize)
        size = checks.integer("vocabulary_size", size, len(_SPECIAL) + 1, optional=True)
        check_iterable("texts", texts)
        texts = list(texts)
        for number, one in enumerate(texts):
            check_text("texts", number, one)
        layer = keras.layers.TextVectorization(standardize=standardize, split=split)
        if any(texts):
            layer.adapt(np.array(texts, object))
        found = layer.get_vocabulary(include_special_tokens=False) if any(texts) else []
        found = [str(one) for one in found if one not in _SPECIAL]
        if not found:
            raise ValueError("`texts` must hold words. Received: an empty corpus")
        return cls(found[: None if size is None else size - len(_SPECIAL)], split, standardize)

    def encode_texts(self, texts: list[str]) -> list[np.ndarray]:
        padded = ops.convert_to_numpy(self._layer(np.array(texts, object)))
        return [row[row != 0].astype(np.int32) for row in padded]

    def decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        skipped = set(self.special_token_ids) if skip_special_tokens else set()
        separator = " " if self.split == "whitespace" else ""
        return separator.join(self.vocabulary[one] for one in ids if one not in skipped)

    @functools.cached_property
    def word_starts(self) -> np.ndarray:
        if self.split == "whitespace":
            return np.ones(self.vocabulary_size, bool)
        starts = np.array([not is_within_word(token) for token in self.vocabulary])
        starts[self.special_token_ids] = True
        return starts

    def get_config(self) -> dict:
        return {
            "words": self.vocabulary[len(_SPECIAL) :],
            "split": self.split,
            "standardize": self.standardize,
        }


def _check_options(split: str, standardize: str | None) -> None:
    for name, value, options in (
        ("split", split, ("whitespace", "character")),
        ("standardize", standardize, _STANDARDIZE),
    ):
        if value not in options:
            raise ValueError(f"`{name}` must be one of {options}. Received: {name}={value!r}")
