"""Random vectors that both sides of `benchmarks/search_index.py` make, part by part."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_ROWS = 10_000


def parts_of_vectors(count: int, dim: int, seed: int) -> Iterator[np.ndarray]:
    """Yields vectors of length 1 in parts, so that no copy of all of them is in memory."""
    random = np.random.default_rng(seed)
    for start in range(0, count, _ROWS):
        part = random.normal(size=(min(_ROWS, count - start), dim)).astype("float32")
        yield part / np.linalg.norm(part, axis=1, keepdims=True)


def seconds_of(function: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Returns the wall seconds of a call, those of the processors, and its result."""
    start, cpu = time.perf_counter(), time.process_time()
    result = function()
    seconds = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    return seconds, result
