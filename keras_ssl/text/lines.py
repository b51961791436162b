"""Text files as iterables of strings."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator
from os import PathLike
from pathlib import Path


class Lines:
    r"""The lines of text files, which are read anew in each pass.

    Lines come without line ends and surrounding space; blank ones are left out.

    Args:
        *paths: files, one or several. Those that end in `.gz` are decompressed.
        encoding: their encoding.

    Raises:
        ValueError: if there is no path.
        FileNotFoundError: if a file does not exist.

    Example:

    >>> import pathlib, tempfile
    >>> from keras_ssl import text
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "corpus.txt"
    >>> _ = path.write_text("Call me Ishmael.\nSome years ago ...\n\nIt was a dark night.\n")
    >>> lines = text.Lines(path)
    >>> list(lines)[0]
    'Call me Ishmael.'
    >>> [len(document) for document in lines.documents()]
    [2, 1]
    """

    def __init__(self, *paths: str | PathLike[str], encoding: str = "utf-8") -> None:
        if not paths:
            raise ValueError("`paths` must name at least one file. Received: none")
        self.paths = [Path(path) for path in paths]
        self.encoding = encoding
        for path in self.paths:
            if not path.is_file():
                raise FileNotFoundError(f"`paths` must be files that exist. Received: {path}")

    def __iter__(self) -> Iterator[str]:
        return (line for line in self._all() if line)

    def documents(self) -> list[list[str]]:
        """Return the lines as documents, which end at blank lines and at the ends of files.

        This is the form in which BERT's authors keep their corpus: a sentence in each line, and a
        blank line between documents.
        """
        groups = itertools.groupby(self._all(), bool)
        return [list(lines) for has_text, lines in groups if has_text]

    def _all(self) -> Iterator[str]:
        for path in self.paths:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding=self.encoding) as file:
                yield from (line.strip() for line in file)
            yield ""
