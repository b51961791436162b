"""Readers of the usual files of word similarities and analogies."""

from os import PathLike
from pathlib import Path


def read_word_pairs(path: str | PathLike[str]) -> list[tuple[str, str, float]]:
    r"""Read pairs of words with scores, as WordSim-353 and SimLex-999 are published.

    A line holds two words and a score, separated by tabs or spaces. Empty lines, comments that
    begin with `#`, and a first line without a score are left out. Words become lower case.

    Args:
        path: path of the file, in UTF-8.

    Returns:
        List of `(word, word, score)`, for `evaluate.word_similarity`.

    Raises:
        ValueError: if a line has another form, with its number.

    Example:

    >>> import pathlib, tempfile
    >>> from keras_ssl import data
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "pairs.tsv"
    >>> _ = path.write_text("# Word 1\tWord 2\tHuman (mean)\nTiger\tcat\t7.35\n")
    >>> data.read_word_pairs(path)
    [('tiger', 'cat', 7.35)]
    """
    pairs, is_first = [], True
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            parts = line.lower().split()
            if not parts or parts[0].startswith("#"):
                continue
            score = _number(parts[-1])
            if len(parts) == 3 and score is not None:
                pairs.append((parts[0], parts[1], score))
            elif not is_first or score is not None:
                raise ValueError(
                    f"{path}, line {number}: expected two words and a score. Received: {line!r}"
                )
            is_first = False
    return pairs


def read_analogies(path: str | PathLike[str]) -> dict[str, list[tuple[str, str, str, str]]]:
    r"""Read analogies by section, in the format of word2vec's `questions-words.txt`.

    A line `: name` begins a section; each other line holds four words, of which the last is the
    answer: the first is to the second as the third to it. Words become lower case.

    Args:
        path: path of the file, in UTF-8.

    Returns:
        For each section its questions, for `evaluate.word_analogy`.

    Raises:
        ValueError: if a line has another form or stands before the first section, with its number.

    Example:

    >>> import pathlib, tempfile
    >>> from keras_ssl import data
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "questions.txt"
    >>> _ = path.write_text(": family\nboy girl brother sister\n")
    >>> data.read_analogies(path)
    {'family': [('boy', 'girl', 'brother', 'sister')]}
    """
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    questions = None
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            parts = line.split()
            if line.startswith(":"):
                questions = sections.setdefault(line[1:].strip(), [])
            elif parts:
                if len(parts) != 4 or questions is None:
                    raise ValueError(
                        f"{path}, line {number}: expected `: section` or, in a section, four "
                        f"words. Received: {line!r}"
                    )
                questions.append(tuple(word.lower() for word in parts))
    return sections


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
