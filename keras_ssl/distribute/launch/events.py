"""What the launcher waits for."""

import contextlib
import selectors
import signal
import socket

from .output import Printer

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Events:
    """Wait for output of workers, for the end of one, and for being asked to stop."""

    def __init__(self) -> None:
        self.asked_to_stop: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._wake, wake_end = socket.socketpair()
        self._wake.setblocking(False)
        wake_end.setblocking(False)
        self._wake_end = wake_end
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
        for number in (*PASSED_ON, signal.SIGCHLD):
            # Python writes the number into the wake-up socket; nothing else is to happen
            signal.signal(number, lambda *_: None)

    def watch(self, printers: list[Printer]) -> None:
        """Copy the output of these from now on."""
        for printer in printers:
            self._selector.register(printer.source, selectors.EVENT_READ, printer)

    def forget(self, printers: list[Printer]) -> None:
        """Watch these no longer."""
        for printer in printers:
            with contextlib.suppress(KeyError):
                self._selector.unregister(printer.source)

    def wait(self, seconds: float) -> None:
        """Copy output until something else happens, at most so long."""
        for key, _ in self._selector.select(seconds):
            if key.data is not None and not key.data.copy():
                self._selector.unregister(key.fileobj)
            elif key.data is None:
                numbers = self._wake.recv(4096)
                self.asked_to_stop += [number for number in numbers if number in PASSED_ON]
