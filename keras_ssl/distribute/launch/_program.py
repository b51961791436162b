"""The launcher: its command line, and running workers until all have ended or one fails."""

import argparse
import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ._worker import (
    Printer,
    Worker,
    available_cores,
    find_ports,
    share_cores,
    share_gpus,
    worker_environment,
)

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; ends the process with code 2 on mistakes."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_ssl.distribute.launch",
        description="Run a training script in several worker processes on this machine.",
    )
    add = parser.add_argument
    add("--workers", type=int, required=True, help="worker processes to start")
    add("--restarts", type=int, default=0, help="how often to restart when a worker dies")
    add("--cores-per-worker", type=int, help="default: equal shares, if the cores divide")
    add("--port", type=int, help="port of the first worker; the next workers get the next ports")
    add("--log-dir", type=Path, help="folder for one log file per worker")
    add("--stop-timeout", type=float, default=30.0, help="seconds before SIGKILL when stopping")
    add("-m", "--module", action="store_true", help="`script` is a module, as in `python -m`")
    add("script", help="Python file, or module with -m")
    add("arguments", nargs=argparse.REMAINDER, help="arguments of the script")
    arguments = parser.parse_args(argv)

    if arguments.workers < 1:
        parser.error(f"--workers must be at least 1. Received: {arguments.workers}")
    if arguments.restarts < 0:
        parser.error(f"--restarts must not be negative. Received: {arguments.restarts}")
    if not arguments.stop_timeout >= 0:
        parser.error(f"--stop-timeout must not be negative. Received: {arguments.stop_timeout}")
    last = (arguments.port or 1) + arguments.workers - 1
    if arguments.port is not None and not 1 <= arguments.port <= last <= 65535:
        parser.error(f"all ports must lie in 1 to 65535. Received: --port {arguments.port}")
    if not arguments.module and not Path(arguments.script).is_file():
        parser.error(f"there is no file {arguments.script}")
    if "TF_CONFIG" in os.environ:
        parser.error(
            "TF_CONFIG is already set, so this process is a worker of a cluster. Run the script "
            "itself, or unset TF_CONFIG to start workers on this machine"
        )
    try:
        share_cores(available_cores(), arguments.workers, arguments.cores_per_worker)
        share_gpus(arguments.workers, os.environ.get("CUDA_VISIBLE_DEVICES"))
    except ValueError as error:
        parser.error(str(error))
    return arguments


class Events:
    """The events that the launcher waits for: output, the end of a worker, and signals."""

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
            # Python writes the number to the wake-up socket; nothing else should happen
            signal.signal(number, lambda *_: None)

    def watch(self, printers: list[Printer]) -> None:
        """Copy the output of these printers from now on."""
        for printer in printers:
            self._selector.register(printer.source, selectors.EVENT_READ, printer)

    def forget(self, printers: list[Printer]) -> None:
        """Stop watching these printers."""
        for printer in printers:
            with contextlib.suppress(KeyError):
                self._selector.unregister(printer.source)

    def wait(self, seconds: float) -> None:
        """Copy output until something else happens, for at most `seconds`."""
        for key, _ in self._selector.select(seconds):
            if key.data is not None and not key.data.copy():
                self._selector.unregister(key.fileobj)
            elif key.data is None:
                numbers = self._wake.recv(4096)
                self.asked_to_stop += [number for number in numbers if number in PASSED_ON]


def run_together(start: Callable[[], Iterator[Worker]], events: Events, stop_timeout: float) -> int:
    """Run the workers that `start` yields; return the exit code, 0 if all workers ended with 0.

    Stops all workers if one fails or the launcher gets a signal; those that have not ended after
    `stop_timeout` seconds are killed.
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
    """Wait until all have ended or a signal comes; return the first worker that fails."""
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
    """Send all a signal and wait until they end, the time is up, or another signal comes."""
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
    """Run the script in all workers; restart all of them when one fails."""
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
    """Run the launcher."""
    arguments = parse_arguments()
    try:
        code = launch(arguments)
    except OSError as error:
        _say(str(error))
        code = 1
    sys.exit(code)
