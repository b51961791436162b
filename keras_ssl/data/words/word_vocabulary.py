"""The words of a text by frequency, and texts as their indices."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import keras
import numpy as np

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class WordVocabulary:
    """Vocabulary of words with their counts, the most frequent one first.

    Unlike `keras.layers.TextVectorization`, it keeps the counts, from which word2vec draws its
    noise, and leaves out unknown words instead of replacing them.

    Args:
        words: the words, all different.
        counts: how often each occurs, positive integers.

    Raises:
        TypeError: if `words` are not strings, or `counts` not integers.
        ValueError: if there are no words, a word occurs twice in `words`, or `counts` does not hold
            a positive number for each.

    Example:

    >>> from keras_ssl import data
    >>> lines = ["the cat sat", "the cat ran", "a dog ran"]
    >>> vocabulary = data.WordVocabulary.from_lines(lines, min_count=2)
    >>> vocabulary.words, vocabulary.counts.tolist()
    (['the', 'cat', 'ran'], [2, 2, 2])
    >>> ids, lengths = vocabulary.encode(lines)
    >>> ids.tolist(), lengths.tolist()
    ([0, 1, 0, 1, 2, 2], [2, 3, 1])
    """

    def __init__(self, words: Sequence[str], counts: Any) -> None:
        self.words = list(words)
        self.counts = np.asarray(counts)
        self._check()
        self.counts = self.counts.astype("int64")
        self._index = {word: index for index, word in enumerate(self.words)}
        if len(self._index) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise ValueError(f"`words` must all be different. Received: {twice!r} twice")

    def _check(self) -> None:
        if not self.words:
            raise ValueError("`words` must hold at least one word. Received: no words")
        wrong = next((word for word in self.words if not isinstance(word, str)), None)
        if wrong is not None:
            raise TypeError(f"`words` must be strings. Received: {wrong!r} of type {type(wrong)}")
        if self.counts.dtype.kind not in "iu":
            raise TypeError(f"`counts` must be integers. Received: dtype {self.counts.dtype}")
        if self.counts.shape != (len(self.words),) or self.counts.min() < 1:
            raise ValueError(
                f"`counts` must hold one positive number for each of the {len(self.words)} words. "
                f"Received: {self.counts}"
            )

    @classmethod
    def from_lines(
        cls,
        lines: Iterable[str | Sequence[str]],
        min_count: int = 5,
        max_words: int | None = None,
    ) -> "WordVocabulary":
        """Count the words of a text.

        Args:
            lines: the text: strings, whose words are separated by white space, or sequences of
                words.
            min_count: words with fewer occurrences are left out.
            max_words: the largest number of words. `None` means all.

        Returns:
            The vocabulary. Words of equal counts are in the order of the text.

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if a number is not positive, or no word occurs `min_count` times.
        """
        min_count = checks.integer("min_count", min_count, minimum=1)
        max_words = checks.integer("max_words", max_words, minimum=1, optional=True)
        counter: Counter[str] = Counter(chain.from_iterable(map(_split, _lines(lines))))
        kept = [item for item in counter.most_common(max_words) if item[1] >= min_count]
        if not kept:
            raise ValueError(
                f"`lines` must hold a word that occurs at least {min_count} times. "
                f"Received: {counter.total()} words, {len(counter)} different ones"
            )
        words, counts = zip(*kept, strict=True)
        return cls(words, np.array(counts))

    def encode(self, lines: Iterable[str | Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Convert a text to indices of words, without those that are not in the vocabulary.

        Args:
            lines: as in `from_lines`.

        Returns:
            The indices of all words, int32 `(n,)`, and how many of them each line holds, int32
            `(lines,)`: what `data.word_windows` takes.
        """
        index, ids, lengths = self._index.get, [], []
        for line in _lines(lines):
            known = [one for one in map(index, _split(line)) if one is not None]
            ids.append(np.array(known, "int32"))
            lengths.append(len(known))
        ids = np.concatenate(ids) if ids else np.zeros(0, "int32")
        return ids, np.array(lengths, "int32")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._index

    def index(self, word: str) -> int:
        """Return the index of a word; a `KeyError` if it is not in the vocabulary."""
        return self._index[word]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"words": self.words, "counts": self.counts.tolist()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WordVocabulary":
        """Return the vocabulary that `config` describes."""
        return cls(config["words"], np.asarray(config["counts"], "int64"))


def _lines(lines: Any) -> Iterable[str | Sequence[str]]:
    if isinstance(lines, str):  # its characters would be lines
        raise TypeError(
            "`lines` must be an iterable of lines, such as an open file. Received: a string"
        )
    return lines


def _split(line: Any) -> Sequence[str]:
    return line.split() if isinstance(line, str) else line
