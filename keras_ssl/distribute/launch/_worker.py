"""One worker process: its share of the machine, its environment, and its output."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import BinaryIO

HOST = "127.0.0.1"
SECONDS_BETWEEN_PROGRESS = 10.0


def available_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def share_cores(
    cores: list[int], workers: int, per_worker: int | None = None
) -> list[list[int]] | None:
    """Divide cores among workers, `per_worker` each or, with `None`, in equal shares.

    Returns `None` if equal shares are not possible: all workers then use all cores. Raises a
    `ValueError` if there are too few cores.
    """
    if per_worker is None:
        if len(cores) % workers:
            return None
        per_worker = len(cores) // workers
    if per_worker < 1 or per_worker * workers > len(cores):
        raise ValueError(
            f"--cores-per-worker must be from 1 to {len(cores) // workers}: {workers} workers "
            f"share {len(cores)} cores. Received: {per_worker}"
        )
    return [cores[i * per_worker : (i + 1) * per_worker] for i in range(workers)]


def share_gpus(workers: int, visible: str | None) -> list[str] | None:
    """Divide the GPUs in `CUDA_VISIBLE_DEVICES`; return its value for each worker.

    TensorFlow takes all memory of all GPUs that it sees, so workers must not share them. Returns
    `None` if the variable names no GPUs. Raises a `ValueError` if equal shares are not possible.
    """
    gpus = [gpu.strip() for gpu in (visible or "").split(",") if gpu.strip()]
    if not gpus or "-1" in gpus:
        return None
    if len(gpus) % workers:
        raise ValueError(
            "The number of GPUs in CUDA_VISIBLE_DEVICES must be divisible by the number of "
            f"workers, {workers}. Received: {visible}"
        )
    each = len(gpus) // workers
    return [",".join(gpus[i * each : (i + 1) * each]) for i in range(workers)]


def find_ports(count: int, first: int | None = None) -> list[int]:
    """Free ports of the loopback device: from `first` on, or chosen by the system.

    Raises an `OSError` if one of the requested ports is in use.
    """
    wanted = [0] * count if first is None else range(first, first + count)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one, port in zip(sockets, wanted, strict=True):
            # a port in TIME_WAIT after an earlier run counts as free
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((HOST, port))
            except OSError as error:
                raise OSError(error.errno, f"port {port} of {HOST}: {error.strerror}") from None
        return [one.getsockname()[1] for one in sockets]


def worker_environment(ports: list[int], index: int, cores: list[int] | None) -> dict[str, str]:
    """The environment variables of worker `index`, including those of this process."""
    environment = {
        **os.environ,
        "TF_CONFIG": json.dumps(
            {
                "cluster": {"worker": [f"{HOST}:{port}" for port in ports]},
                "task": {"type": "worker", "index": index},
            }
        ),
        "PYTHONUNBUFFERED": "1",
    }
    if cores is not None:
        # the thread pools of TensorFlow and NumPy; variables that the user has set are kept
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            environment.setdefault(name, str(len(cores)))
    gpus = share_gpus(len(ports), os.environ.get("CUDA_VISIBLE_DEVICES"))
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[index]
    return environment


class Lines:
    r"""Splits a stream of bytes into lines, keeping only the last state of a progress bar.

    A progress bar returns to the start of its line (`\r`, or many `\b`) and overwrites it.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; return the lines that they complete."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[rest.rstrip(b"\r\b").rfind(b"\r") + 1 :]
        return [self._visible(line) for line in lines]

    @property
    def unfinished(self) -> bytes:
        """The visible part of the line that has not ended yet."""
        return self._visible(self._rest)

    @staticmethod
    def _visible(line: bytes) -> bytes:
        return line.rstrip(b"\r\b").rpartition(b"\r")[2].replace(b"\b", b"")


class Printer:
    """Copies a stream of a worker to a stream of this process, line by line, with a prefix.

    A log file gets the lines too, without the prefix.

    Args:
        source: the stream of the worker.
        to: the stream of this process.
        prefix: what each line begins with.
        log: the log file, or `None`.
    """

    def __init__(self, source: BinaryIO, to: BinaryIO, prefix: bytes, log: BinaryIO | None = None):
        self.source = source
        self._to, self._prefix, self._log = to, prefix, log
        self._lines = Lines()
        self._shown, self._shown_at = b"", time.monotonic()
        os.set_blocking(source.fileno(), False)

    def copy(self) -> bool:
        """Print what is available; return whether the stream is still open."""
        try:
            data = os.read(self.source.fileno(), 65536)
        except BlockingIOError:
            return True
        for line in self._lines.feed(data):
            self._print(line)
        return bool(data)

    def show_progress(self) -> None:
        """Print the state of a progress bar if it has changed and was not printed recently."""
        line = self._lines.unfinished
        if time.monotonic() - self._shown_at > SECONDS_BETWEEN_PROGRESS and line != self._shown:
            self._print(line)
            self._shown = line

    def finish(self) -> None:
        """Print the rest and close the stream."""
        # read once only: a grandchild may hold the stream open and write to it forever
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


def _before_exec(cores: list[int] | None) -> Callable[[], None]:
    """A function for a worker between fork and exec, which pins it and ties it to the launcher."""
    parent = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        if cores is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)
        if libc is not None:
            set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
            libc.prctl(set_parent_death_signal, int(signal.SIGKILL))
            if os.getppid() != parent:  # the launcher died before that call
                os._exit(1)

    return prepare


class Worker:
    """A worker process, which leads its own process group.

    Args:
        index: number of the worker, from 0.
        command: the program and its arguments.
        environment: all environment variables.
        cores: numbers of the processor's cores that it may use; `None` for all.
        log: file that its output is copied to, or `None`.
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
            process_group=0,  # not a session, which Linux would schedule separately
        )
        prefix = f"[worker {index}] ".encode()
        self.printers = [
            Printer(self._process.stdout, sys.stdout.buffer, prefix, log),
            Printer(self._process.stderr, sys.stderr.buffer, prefix, log),
        ]

    def poll(self) -> int | None:
        """The exit code, 128 plus the signal's number if a signal killed it; `None` if it runs."""
        if self._process.returncode is None and self._process.poll() is not None:
            # right away, because another process may get its id later
            self._send(signal.SIGKILL)
        code = self._process.returncode
        return code if code is None or code >= 0 else 128 - code

    @property
    def fate(self) -> str:
        """A description of how it ended."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"worker {self.index} was killed by {signal.Signals(-code).name}"
        return f"worker {self.index} ended with code {code}"

    def stop(self, signal_number: int) -> None:
        """Send a signal to the worker, if it runs, and to its child processes."""
        if self.poll() is None:
            self._send(signal_number)

    def end(self) -> None:
        """Kill the worker and its child processes if it runs, and print its last lines."""
        self.stop(signal.SIGKILL)
        self._process.wait()
        for printer in self.printers:
            printer.finish()

    def _send(self, signal_number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal_number)
