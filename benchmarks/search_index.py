"""Exact search among many vectors: `evaluate.SearchIndex` beside faiss' `IndexFlatIP`.

The ten nearest of `--count` vectors of width `--dim` to each of `--queries` queries, all random and
of length 1, the same on both sides. Wall seconds, and seconds of all processors, which other
programs on the same cores change less; what faiss' threads wait in busy loops counts among its own.

The memory of our side is that of the process once the vectors are added, and at its most during a
query, less that of a process that has searched a tiny index, as a share of the vectors'.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from measure import Peer, interleave, machine, medians, print_machine, print_ratio, print_table
from peers.peak_memory import resident_gigabytes, return_freed_memory, seconds_and_memory
from peers.vectors import parts_of_vectors, seconds_of

from keras_ssl import evaluate


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    queries = np.concatenate(list(parts_of_vectors(arguments.queries, arguments.dim, seed=1)))

    tiny = evaluate.SearchIndex(arguments.dim, "inner_product")
    for part in (queries[:100], queries[100:250]):  # traced, for any number of rows
        tiny.add(part)
        tiny.query(part[: len(part) // 5], arguments.k)
    del tiny
    return_freed_memory()
    before = resident_gigabytes()
    index = evaluate.SearchIndex(arguments.dim, "inner_product")
    for part in parts_of_vectors(arguments.count, arguments.dim, seed=0):
        index.add(part)
    del part
    return_freed_memory()
    added = resident_gigabytes() - before
    during = seconds_and_memory(lambda: index.query(queries, arguments.k))["gigabytes"]
    vectors = 4e-9 * arguments.count * arguments.dim

    cpu: dict[str, list[float]] = {"keras_ssl": [], "faiss": []}
    found = {}

    def ours() -> float:
        seconds, (_, found["keras_ssl"]) = seconds_of(lambda: index.query(queries, arguments.k))
        cpu["keras_ssl"].append(seconds["cpu"])
        return seconds["wall"]

    with Peer("search_index_faiss.py") as peer:
        print_machine(peer)
        sizes = {name: getattr(arguments, name) for name in ("count", "dim", "queries")}
        peer.ask("set_up", **sizes)

        def theirs() -> float:
            answer = peer.ask("search", k=arguments.k)
            found["faiss"] = np.array(answer["ids"])
            cpu["faiss"].append(answer["cpu"])
            return answer["wall"]

        wall = interleave({"keras_ssl": ours, "faiss": theirs}, repeats=arguments.repeats)
    cpu = {name: values[-arguments.repeats :] for name, values in cpu.items()}
    agreement = float(np.mean(found["keras_ssl"] == found["faiss"]))
    print(
        f"\n{arguments.count} vectors, {arguments.queries} queries; {agreement:.3%} equal results"
    )
    for name, seconds in (("wall", wall), ("of processors", cpu)):
        print(f"seconds, {name}")
        print_table(medians(seconds), per="faiss")
        print_ratio(seconds, "keras_ssl", "faiss", aim=1.0)
    peak = (added + during) / vectors
    print(f"memory: {added / vectors:.3f} of the vectors, {peak:.3f} during a query (aim: 1.1)")
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "wall": wall, "cpu": cpu}
        report |= {"agreement": agreement, "memory": {"added": added, "during": during}}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
