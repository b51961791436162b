"""What workers print, line by line."""

import os
import time
from typing import BinaryIO

SECONDS_BETWEEN_PROGRESS = 10.0


class Lines:
    r"""Cut a stream of bytes into lines; of a progress bar keep the last state of the line.

    A progress bar returns to the start of its line (`\r`, or many `\b`) and writes over it.

    Example:

    >>> lines = Lines()
    >>> lines.feed(b"one\n1/9 [>..]\r2/9 [=>.]")
    [b'one']
    >>> lines.unfinished
    b'2/9 [=>.]'
    >>> lines.feed(b"\r9/9 [===]\n")
    [b'9/9 [===]']
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the lines that they complete."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[rest.rstrip(b"\r\b").rfind(b"\r") + 1 :]
        return [self._seen(line) for line in lines]

    @property
    def unfinished(self) -> bytes:
        """What can be seen of the line that has not ended yet."""
        return self._seen(self._rest)

    @staticmethod
    def _seen(line: bytes) -> bytes:
        return line.rstrip(b"\r\b").rpartition(b"\r")[2].replace(b"\b", b"")


class Printer:
    """Print what a worker writes into one of its two streams, line by line, with a prefix.

    Args:
        source: the reading end of the worker's stream.
        to: the stream of this process that it goes to.
        prefix: what to put before each line.
        log: a file that gets the lines too, without the prefix.
    """

    def __init__(self, source: BinaryIO, to: BinaryIO, prefix: bytes, log: BinaryIO | None = None):
        self.source = source
        self._to, self._prefix, self._log = to, prefix, log
        self._lines = Lines()
        self._shown, self._shown_at = b"", time.monotonic()
        os.set_blocking(source.fileno(), False)

    def copy(self) -> bool:
        """Print what has come. Returns whether more may come."""
        try:
            data = os.read(self.source.fileno(), 65536)
        except BlockingIOError:
            return True
        for line in self._lines.feed(data):
            self._print(line)
        return bool(data)

    def show_progress(self) -> None:
        """Print the line that a progress bar is at, if it moved and the last time is long ago."""
        line = self._lines.unfinished
        if time.monotonic() - self._shown_at > SECONDS_BETWEEN_PROGRESS and line != self._shown:
            self._print(line)
            self._shown = line

    def finish(self) -> None:
        """Print what is left, and close the stream."""
        # a grandchild may hold the stream open and write into it for ever: one look is enough
        self.copy()
        if self._lines.unfinished:
            self._print(self._lines.unfinished)
        self.source.close()

    def _print(self, line: bytes) -> None:
        self._to.write(self._prefix + line + b"\n")
        self._to.flush()
        if self._log is not None:
            self._log.write(line + b"\n")
            self._log.flush()
        self._shown, self._shown_at = b"", time.monotonic()
