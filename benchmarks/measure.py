"""Shared by all benchmarks: paired timing, a peer in its own environment, the machine.

A benchmark compares a `keras_ssl` function with the same work done by a peer. Each side sets up
once and is then timed in turns (`interleave`), so that whatever else the machine is doing hits
both; the figure is the ratio of the medians of one run.

    with Peer("views_lightly.py") as peer:
        seconds = interleave(
            {
                "keras_ssl": timed(lambda: make_views(images)),
                "lightly": lambda: peer.ask("seconds", size=32),
            },
            repeats=5,
        )
    print_table(medians(seconds), per="keras_ssl")
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent / "peers"


def elapsed(function: Callable[..., Any], *args: Any) -> float:
    """Seconds that one call takes. `function` must return only when its work is done."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def timed(
    function: Callable[[], Any],
    calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Callable[[], float]:
    """A contender of `interleave`: a function that returns the mean seconds of some calls.

    Args:
        function: What is called. It must return only when its work is done, as `train_on_batch`
            does.
        calls: Calls in each measurement.
        clock: `time.process_time` counts the seconds of this process on all processors, which
            programs beside it change little.
    """

    def seconds() -> float:
        start = clock()
        for _ in range(calls):
            function()
        return (clock() - start) / calls

    return seconds


def interleave(
    contenders: Mapping[str, Callable[[], float]], repeats: int = 5, warmup: int = 1
) -> dict[str, list[float]]:
    """Calls the contenders in turns: a, b, a, b, ...

    Args:
        contenders: Functions of no argument, each returning its own measurement (seconds, say).
        repeats: Measurements kept of each.
        warmup: Turns before them whose results are dropped (tracing, caches, worker start-up).

    Returns:
        The measurements by name, in the order in which they were made.
    """
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warmup + repeats):
        for name, contender in contenders.items():
            result = contender()
            if turn >= warmup:
                measured[name].append(result)
    return measured


def medians(measured: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each contender's measurements."""
    return {name: statistics.median(values) for name, values in measured.items()}


def print_table(values: Mapping[str, float], per: str, unit: str = "seconds") -> None:
    """Prints one row per contender: its value, and that value divided by the one of `per`."""
    print(f"{'':24}{unit:>16}{'/ ' + per:>16}")
    for name, value in values.items():
        print(f"{name:24}{value:16.4g}{value / values[per]:16.3f}")


def print_ratio(measured: Mapping[str, list[float]], ours: str, theirs: str, aim: float) -> None:
    """Prints how long one contender takes of another: round by round, and both at their best."""
    pairs = zip(measured[ours], measured[theirs], strict=True)
    paired = statistics.median(a / b for a, b in pairs)
    fastest = min(measured[ours]) / min(measured[theirs])
    print(
        f"{ours} / {theirs}: {paired:.2f}, the median of rounds, {fastest:.2f} of the fastest "
        f"(aim: at most {aim})"
    )


def store(path: Path, run: dict[str, Any], key: Sequence[str]) -> list[dict[str, Any]]:
    """Adds a run to a file of JSON, in place of an earlier one with the same values of `key`.

    Returns:
        All runs of the file, the new one last.
    """
    runs = json.loads(path.read_text()) if path.exists() else []
    run = json.loads(json.dumps(run))  # tuples as the file gives them back
    runs = [one for one in runs if any(one[name] != run[name] for name in key)] + [run]
    path.write_text(json.dumps(runs, indent=1))
    return runs


class Peer:
    """A script of `benchmarks/peers/` that runs beside us and answers one question at a time.

    The script ends with `serve({"name": function, ...})` of `peers/serve.py`. It lives in the
    environment that `peers/setup.sh` makes; `KERAS_SSL_PEER_PYTHON` names another interpreter.
    The peer inherits our CPU affinity (`taskset`) and waits without using the CPU.

    Args:
        script: name of the script.
        environment: environment variables that it gets unless they are set.
    """

    def __init__(self, script: str, environment: Mapping[str, str] | None = None):
        python = os.environ.get("KERAS_SSL_PEER_PYTHON", PEERS / ".venv" / "bin" / "python")
        if not Path(python).exists():
            raise FileNotFoundError(
                f"The peers' environment is missing: no {python}. "
                "Run `benchmarks/peers/setup.sh` first."
            )
        self.script = script
        # Answers come through a pipe of their own: libraries print what they like on the other two.
        answers, answers_end = os.pipe()
        self._process = subprocess.Popen(
            [python, PEERS / script, str(answers_end)],
            stdin=subprocess.PIPE,
            text=True,
            env={**(environment or {}), **os.environ},
            pass_fds=(answers_end,),
        )
        os.close(answers_end)
        self._answers = os.fdopen(answers)

    def ask(self, call: str, **arguments: Any) -> Any:
        """The value of the peer's function `call` with these arguments (plain JSON values)."""
        request = json.dumps({"call": call, "arguments": arguments})
        with contextlib.suppress(BrokenPipeError):  # It died; the empty answer below says so.
            print(request, file=self._process.stdin, flush=True)
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"{self.script} died; exit code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.script} failed in {call!r}:\n{answer['error']}")
        return answer["value"]

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._answers.close()


def machine() -> dict[str, str | int | float]:
    """What a figure was measured on: processor, memory, load and the versions of our side."""
    described: dict[str, str | int | float] = {
        "cpu": _cpu_model(),
        "cores in the machine": os.cpu_count() or 1,
        "cores used": _cores(),
        "load average at the start": round(os.getloadavg()[0], 1),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }
    for package in ("keras", "tensorflow", "numpy"):
        described[package] = importlib.metadata.version(package)
    return described


def print_machine(peer: Peer | None = None) -> None:
    """Prints `machine()`, and the peer's versions beside it."""
    for name, value in (machine() | (peer.ask("versions") if peer else {})).items():
        print(f"{name:28}{value}")


def _cores() -> int:
    # sched_getaffinity sees `taskset`, which os.cpu_count does not; macOS has neither.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
