"""Train with several worker processes on this machine, and start them again when one dies.

    python -m keras_ssl.distribute.launch --workers 2 --restarts 3 train.py --epochs 100

Every worker runs `train.py --epochs 100` with a `TF_CONFIG` of its own, which is what
`tf.distribute.MultiWorkerMirroredStrategy` reads. What a worker prints comes out here, line by
line, after `[worker 0] `. When a worker fails or is killed, the others are stopped and, up to
`--restarts` times, all are started again with the same command; the script must go on from its
last backup by itself. On a cluster the scheduler starts the workers and this launcher has no part.

The exit code is 0 when all workers end with 0, else that of the first worker to fail: 128 plus the
number of the signal where a signal killed it. Needs Linux or macOS.
"""

import argparse
import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

HOST = "127.0.0.1"
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SECONDS_BETWEEN_PROGRESS = 10.0


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The settings of the command line; ends the process with code 2 on mistakes."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_ssl.distribute.launch",
        description="Run a training script in several worker processes on this machine.",
    )
    add = parser.add_argument
    add("--workers", type=int, required=True, help="worker processes to start")
    add("--restarts", type=int, default=0, help="how often to start again when a worker dies")
    add("--cores-per-worker", type=int, help="default: the cores in equal shares, if they divide")
    add("--port", type=int, help="of the first worker, the next one for the second, and so on")
    add("--log-dir", type=Path, help="folder for one file a worker of what it prints")
    add("--stop-timeout", type=float, default=30.0, help="seconds to stop in, before SIGKILL")
    add("-m", "--module", action="store_true", help="`script` is a module, as in `python -m`")
    add("script", help="Python file, or module with -m")
    add("arguments", nargs=argparse.REMAINDER, help="arguments of the script")
    arguments = parser.parse_args(argv)

    if arguments.workers < 1:
        parser.error(f"--workers must be at least 1. Received: {arguments.workers}")
    if arguments.restarts < 0:
        parser.error(f"--restarts must not be below 0. Received: {arguments.restarts}")
    if not arguments.stop_timeout >= 0:
        parser.error(f"--stop-timeout must not be below 0. Received: {arguments.stop_timeout}")
    last = (arguments.port or 1) + arguments.workers - 1
    if arguments.port is not None and not 1 <= arguments.port <= last <= 65535:
        parser.error(f"--port must leave all ports in 1 to 65535. Received: {arguments.port}")
    if not arguments.module and not Path(arguments.script).is_file():
        parser.error(f"there is no file {arguments.script}")
    if "TF_CONFIG" in os.environ:
        parser.error(
            "TF_CONFIG is set already, so this process is one worker of a cluster. Start the "
            "script itself, or unset TF_CONFIG to start workers on this machine"
        )
    try:
        share_cores(available_cores(), arguments.workers, arguments.cores_per_worker)
        share_gpus(arguments.workers, os.environ.get("CUDA_VISIBLE_DEVICES"))
    except ValueError as error:
        parser.error(str(error))
    return arguments


# What each worker is given


def available_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def share_cores(
    cores: list[int], workers: int, per_worker: int | None = None
) -> list[list[int]] | None:
    """Give every worker cores of its own.

    Args:
        cores: numbers of the cores to share.
        workers: how many workers there are.
        per_worker: cores of each, or `None` for equal shares.

    Returns:
        One list of cores a worker, or `None` where `cores` do not divide by the workers: then all
        workers use all cores.

    Raises:
        ValueError: if there are fewer cores than were asked for.
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
    """Give every worker GPUs of its own: TensorFlow takes all memory of all GPUs that it sees.

    Args:
        workers: how many workers there are.
        visible: the value of `CUDA_VISIBLE_DEVICES`, or `None` where it is not set.

    Returns:
        Its value for each worker, or `None` where it names no GPUs.

    Raises:
        ValueError: if the GPUs do not divide by the workers.
    """
    gpus = [gpu.strip() for gpu in (visible or "").split(",") if gpu.strip()]
    if not gpus or "-1" in gpus:
        return None
    if len(gpus) % workers:
        raise ValueError(
            "CUDA_VISIBLE_DEVICES must name equally many GPUs for each of the "
            f"{workers} workers. Received: {visible}"
        )
    each = len(gpus) // workers
    return [",".join(gpus[i * each : (i + 1) * each]) for i in range(workers)]


def find_ports(count: int, first: int | None = None) -> list[int]:
    """Ports of the loopback device that nobody listens on.

    Args:
        count: how many.
        first: the lowest of them, the others follow; `None` lets the system choose.

    Raises:
        OSError: if one of the ports that were asked for is taken.
    """
    wanted = [0] * count if first is None else range(first, first + count)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one, port in zip(sockets, wanted, strict=True):
            # a port that waits for the last packets of an earlier run is free
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((HOST, port))
            except OSError as error:
                raise OSError(error.errno, f"port {port} of {HOST}: {error.strerror}") from None
        return [one.getsockname()[1] for one in sockets]


def worker_environment(ports: list[int], index: int, cores: list[int] | None) -> dict[str, str]:
    """The environment variables of a worker, on top of this process's own.

    Args:
        ports: the ports of all workers.
        index: which worker it is.
        cores: the cores that it has for itself, or `None`.
    """
    environment = {
        **os.environ,
        "TF_CONFIG": json.dumps(
            {
                "cluster": {"worker": [f"{HOST}:{port}" for port in ports]},
                "task": {"type": "worker", "index": index},
            }
        ),
        "PYTHONUNBUFFERED": "1",  # so that lines come when they are printed
    }
    if cores is not None:
        # TensorFlow's two thread pools and NumPy's; what the user has set stays
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            environment.setdefault(name, str(len(cores)))
    gpus = share_gpus(len(ports), os.environ.get("CUDA_VISIBLE_DEVICES"))
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[index]
    return environment


# What a worker prints


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


# A worker


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


# All workers


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


def run_together(start: Callable[[], Iterator[Worker]], events: Events, stop_timeout: float) -> int:
    """Run workers until all have ended, or one has failed, or the launcher is asked to stop.

    Args:
        start: starts the workers, one after the other.
        events: of this process.
        stop_timeout: seconds that workers get to stop in.

    Returns:
        The exit code: 0 when all workers ended with 0.
    """
    workers: list[Worker] = []
    try:
        for worker in start():
            workers.append(worker)
            events.watch(worker.printers)
        failed = _watch(workers, events)
        if failed is not None:
            _say(f"{failed.fate}; stopping the others")
        asked = events.asked_to_stop[:1]
        if failed is not None or asked:
            _stop(workers, events, asked[0] if asked else signal.SIGTERM, stop_timeout)
        if asked:
            return 128 + asked[0]
        return 0 if failed is None else failed.poll()
    finally:
        for worker in workers:
            events.forget(worker.printers)
            worker.end()


def _watch(workers: list[Worker], events: Events) -> Worker | None:
    """Wait for the end of all, or for a request to stop; return the first worker that fails."""
    while not events.asked_to_stop:
        codes = [worker.poll() for worker in workers]
        for worker, code in zip(workers, codes, strict=True):
            if code:
                return worker
        if all(code == 0 for code in codes):
            return None
        events.wait(seconds=1.0)
        for worker in workers:
            for printer in worker.printers:
                printer.show_progress()
    return None


def _stop(workers: list[Worker], events: Events, signal_number: int, timeout: float) -> None:
    """Ask all to stop and wait, at most so long; being asked to stop once more ends the wait."""
    for worker in workers:
        worker.stop(signal_number)
    asked = len(events.asked_to_stop)
    deadline = time.monotonic() + timeout
    while any(worker.poll() is None for worker in workers):
        left = deadline - time.monotonic()
        if left <= 0 or len(events.asked_to_stop) > asked:
            break
        events.wait(min(left, 1.0))


def _say(text: str) -> None:
    print(f"[launch] {text}", file=sys.stderr, flush=True)


def launch(arguments: argparse.Namespace) -> int:
    """Run the script in all workers; start all again when one dies, as often as allowed."""
    command = [sys.executable, *(["-m"] if arguments.module else []), arguments.script]
    command += arguments.arguments
    count = arguments.workers
    shares = share_cores(available_cores(), count, arguments.cores_per_worker)
    events = Events()
    with contextlib.ExitStack() as stack:
        logs: list[BinaryIO | None] = [None] * count
        if arguments.log_dir is not None:
            arguments.log_dir.mkdir(parents=True, exist_ok=True)
            files = [arguments.log_dir / f"worker-{index}.log" for index in range(count)]
            logs = [stack.enter_context(file.open("ab")) for file in files]

        def start() -> Iterator[Worker]:
            ports = find_ports(count, arguments.port)
            for index in range(count):
                cores = shares and shares[index]
                environment = worker_environment(ports, index, cores)
                yield Worker(index, command, environment, cores, logs[index])

        for restarts in range(arguments.restarts + 1):
            code = run_together(start, events, arguments.stop_timeout)
            if code == 0 or events.asked_to_stop:
                return code
            if restarts < arguments.restarts:
                _say(f"starting all workers again ({restarts + 1} of {arguments.restarts})")
        return code


def main() -> None:
    """Run the launcher as a program."""
    arguments = parse_arguments()
    try:
        code = launch(arguments)
    except OSError as error:
        _say(str(error))
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    if "keras_ssl" in sys.modules:
        # `python -m` has imported the whole package first, and TensorFlow with it. This file needs
        # only the standard library, so a fresh interpreter spares the memory, and the threads
        # that a process should not have when it forks.
        os.execv(sys.executable, [sys.executable, "-P", __file__, *sys.argv[1:]])
    main()
