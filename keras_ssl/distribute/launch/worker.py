"""One worker process."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import BinaryIO

from .output import Printer


def _before_exec(cores: list[int] | None) -> Callable[[], None]:
    """What a worker does between fork and exec: pin itself, and die when the launcher dies."""
    parent = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        if cores is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)
        if libc is not None:
            set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
            libc.prctl(set_parent_death_signal, int(signal.SIGKILL))
            if os.getppid() != parent:  # it died before that call
                os._exit(1)

    return prepare


class Worker:
    """One worker process, the leader of a process group of its own.

    Args:
        index: the number of the worker.
        command: what to run.
        environment: its environment variables.
        cores: the cores to pin it to, or `None`.
        log: a file that gets what it prints, or `None`.
    """

    def __init__(
        self,
        index: int,
        command: list[str],
        environment: dict[str, str],
        cores: list[int] | None = None,
        log: BinaryIO | None = None,
    ):
        self.index = index
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            preexec_fn=_before_exec(cores),  # safe: this process has no other threads
            process_group=0,  # not a session: Linux would weigh each worker's session by itself
        )
        prefix = f"[worker {index}] ".encode()
        self.printers = [
            Printer(self._process.stdout, sys.stdout.buffer, prefix, log),
            Printer(self._process.stderr, sys.stderr.buffer, prefix, log),
        ]

    def poll(self) -> int | None:
        """`None` while it runs, else its code, or 128 plus the number of the signal it died of."""
        if self._process.returncode is None and self._process.poll() is not None:
            # at once, since later another process may get its number
            self._send(signal.SIGKILL)
        code = self._process.returncode
        return code if code is None or code >= 0 else 128 - code

    @property
    def fate(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"worker {self.index} was killed by {signal.Signals(-code).name}"
        return f"worker {self.index} ended with code {code}"

    def stop(self, signal_number: int) -> None:
        """Send a signal to the worker, if it runs, and to the processes that it started."""
        if self.poll() is None:
            self._send(signal_number)

    def end(self) -> None:
        """Kill the worker if it still runs, and what it started; print its last lines."""
        self.stop(signal.SIGKILL)
        self._process.wait()
        for printer in self.printers:
            printer.finish()

    def _send(self, signal_number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal_number)
