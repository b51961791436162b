"""How much memory a call needs; on Linux, for either side of a benchmark."""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def seconds_and_memory(function: Callable[[], Any]) -> dict[str, float]:
    """Calls `function` and watches the resident memory of this process.

    Returns:
        `seconds` of the call, and `gigabytes`: the largest resident set during the call minus the
        one at its start.
    """
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _gigabytes("VmRSS")
    start = time.perf_counter()
    function()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "gigabytes": _gigabytes("VmHWM") - before}


def resident_gigabytes() -> float:
    """The resident set of this process now."""
    return _gigabytes("VmRSS")


def return_freed_memory() -> None:
    """Gives back to the system what this process has freed (glibc)."""
    ctypes.CDLL(None).malloc_trim(0)


def peak_gigabytes() -> float:
    """The largest resident set of this process so far."""
    return _gigabytes("VmHWM")


def _gigabytes(name: str) -> float:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024 / 1e9
