"""Run workers together, and start them again when one dies."""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from .arguments import parse_arguments
from .events import Events
from .shares import available_cores, find_ports, share_cores, worker_environment
from .worker import Worker


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
