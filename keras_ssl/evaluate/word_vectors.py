"""Evaluation of vectors of words: similarities and analogies."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._forward import check_features


def word_similarity(
    z: Any, words: Sequence[str], pairs: Iterable[tuple[str, str, float]]
) -> dict[str, float]:
    """Compare similarities of vectors of words with those that people see.

    The similarity of two words is the cosine of their vectors. Spearman's rank correlation says how
    well its order agrees with that of the scores.

    Args:
        z: vectors `(words, dimensions)`.
        words: the word of each row.
        pairs: pairs of words with scores, `(word, word, score)`, such as those of
            `data.read_word_pairs`. Pairs with a word that has no vector are left out, and counted.

    Returns:
        `{"spearman": ..., "pairs": ..., "out_of_vocabulary": ...}`: the correlation, from -1 to 1,
        the number of pairs that it is computed from, and the number of those left out.

    Raises:
        ValueError: if vectors are not finite, `words` are not different names of the rows, or
            fewer than two pairs have vectors.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> z = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 1.0]])
    >>> pairs = [("cat", "tiger", 7.35), ("cat", "car", 2.0), ("cat", "cactus", 1.0)]
    >>> result = evaluate.word_similarity(z, ["cat", "tiger", "car"], pairs)
    >>> round(result["spearman"], 3), result["pairs"], result["out_of_vocabulary"]
    (1.0, 2, 1)

    Reference:
        - [Finkelstein et al., Placing Search in Context](https://doi.org/10.1145/503104.503110),
          WordSim-353
        - [Hill et al., SimLex-999](https://arxiv.org/abs/1408.3456)
    """
    from scipy.stats import spearmanr

    units, index = _named_units(z, words)
    pairs = list(pairs)
    known = [(index[a], index[b], score) for a, b, score in pairs if a in index and b in index]
    if len(known) < 2:
        raise ValueError(
            "`pairs` must hold at least 2 pairs of words that have vectors. "
            f"Received: {len(known)} of {len(pairs)} pairs"
        )
    first, second, scores = (np.array(column) for column in zip(*known, strict=True))
    similarities = np.sum(units[first] * units[second], axis=1)
    return {
        "spearman": float(spearmanr(similarities, scores).statistic),
        "pairs": len(known),
        "out_of_vocabulary": len(pairs) - len(known),
    }


def word_analogy(
    z: Any,
    words: Sequence[str],
    questions: Mapping[str, Iterable[tuple[str, str, str, str]]],
    chunk_size: int = 512,
) -> dict[str, Any]:
    """Answer analogies by sums of vectors of words: a is to b as c is to which word?

    The answer is the word w whose vector has the largest cosine with b - a + c, where these have
    length 1 (3CosAdd); a, b and c themselves are no answers:

        argmax over w of cos(w, b) - cos(w, a) + cos(w, c)

    Args:
        z: vectors `(words, dimensions)`.
        words: the word of each row.
        questions: for each section, questions `(a, b, c, answer)`, such as those of
            `data.read_analogies`. Questions with a word that has no vector are left out, and
            counted.
        chunk_size: number of questions that are answered at a time: memory grows with it times
            the number of words.

    Returns:
        `{"accuracy": ..., "questions": ..., "out_of_vocabulary": ..., "sections": ...}`: the share
        of right answers, the number of questions that it is computed from, the number of those
        left out, and for each section a dictionary of the first two. The accuracy of a section
        without questions is NaN.

    Raises:
        ValueError: if vectors are not finite, `words` are not different names of the rows,
            `chunk_size` is not positive, or no question has vectors.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> words = ["man", "woman", "king", "queen", "apple"]
    >>> z = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1], [-1, -1, 0]])
    >>> questions = {"family": [("man", "woman", "king", "queen"), ("man", "woman", "boy", "girl")]}
    >>> result = evaluate.word_analogy(z, words, questions)
    >>> result["accuracy"], result["questions"], result["out_of_vocabulary"]
    (1.0, 1, 1)
    >>> result["sections"]
    {'family': {'accuracy': 1.0, 'questions': 1}}

    Reference:
        - [Mikolov et al., Linguistic Regularities in Continuous Space Word Representations](
          https://aclanthology.org/N13-1090)
        - [Levy & Goldberg, Linguistic Regularities in Sparse and Explicit Word Representations](
          https://aclanthology.org/W14-1618), 3CosAdd
    """
    chunk_size = checks.integer("chunk_size", chunk_size, minimum=1)
    units, index = _named_units(z, words)
    sections, right, left_out = {}, 0, 0
    for name, asked in questions.items():
        rows = [[index.get(word, -1) for word in question] for question in asked]
        rows = np.array(rows, "int64").reshape(-1, 4)
        known = rows[rows.min(axis=1) >= 0]
        hits = sum(
            int(np.count_nonzero(_answers(units, part[:, :3]) == part[:, 3]))
            for part in np.split(known, range(chunk_size, len(known), chunk_size))
        )
        right, left_out = right + hits, left_out + len(rows) - len(known)
        sections[name] = {"accuracy": _share(hits, len(known)), "questions": len(known)}
    answered = sum(section["questions"] for section in sections.values())
    if not answered:
        raise ValueError(
            "`questions` must hold a question whose words have vectors. "
            f"Received: {left_out} questions, none of which has"
        )
    return {
        "accuracy": _share(right, answered),
        "questions": answered,
        "out_of_vocabulary": left_out,
        "sections": sections,
    }


def _answers(units: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the answer to each of the questions (a, b, c), the index of a word."""
    a, b, c = (units[column] for column in asked.T)
    scores = (b - a + c) @ units.T
    np.put_along_axis(scores, asked, -np.inf, axis=1)
    return scores.argmax(axis=1)


def _share(hits: int, of: int) -> float:
    return hits / of if of else float("nan")


def _named_units(z: Any, words: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Return the vectors with length 1, and the row of each word."""
    z = check_features(z, "z").astype("float32")
    index = {word: row for row, word in enumerate(words)}
    if len(index) != len(z) or len(words) != len(z):
        raise ValueError(
            f"`words` must be {len(z)} different words, one for each row of `z`. "
            f"Received: {len(words)} words, {len(index)} of them different"
        )
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    return z / np.where(lengths > 0, lengths, 1.0), index
