"""The peer of `benchmarks/search_index.py`: faiss' `IndexFlatIP`."""

from importlib.metadata import version
from typing import Any

import faiss
import numpy as np
from serve import serve
from vectors import parts_of_vectors, seconds_of

state: dict[str, Any] = {}


def set_up(count: int, dim: int, queries: int) -> None:
    """Make the index and the queries."""
    index = faiss.IndexFlatIP(dim)
    for part in parts_of_vectors(count, dim, seed=0):
        index.add(part)
    state["index"] = index
    state["queries"] = np.concatenate(list(parts_of_vectors(queries, dim, seed=1)))


def search(k: int) -> dict[str, Any]:
    """Search; return the seconds and the numbers of the vectors that were found."""
    seconds, (_, ids) = seconds_of(lambda: state["index"].search(state["queries"], k))
    return {**seconds, "ids": ids.tolist()}


def versions() -> dict[str, str | int]:
    """The versions of what is being compared with."""
    return {"faiss-cpu": version("faiss-cpu"), "threads of faiss": faiss.omp_get_max_threads()}


serve({"set_up": set_up, "search": search, "versions": versions})
