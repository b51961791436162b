"""Time and memory of a training step of GCN on a large random graph, and PyTorch Geometric's.

200,000 nodes, 1, 2.5 and 5 million edges, three layers of width 64, cross entropy of all nodes,
Adam. Normalised adjacency and features lie ready on both sides. Ours is `fit` on the graph as a
sparse tensor, or as an edge list that XLA compiles; theirs has `edge_index` with weights, or a
`torch.sparse_csr_tensor`. Each contender has a fresh process for each number of edges. Memory is
the largest resident set while training; of the two figures, one is without what the process held
once its libraries had been imported.

    taskset -c 0,1 python benchmarks/large_graph.py
"""

import argparse
import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from measure import Peer, elapsed, interleave, machine, medians, print_machine
from peers.peak_memory import (
    peak_gigabytes,
    resident_gigabytes,
    return_freed_memory,
    seconds_and_memory,
)
from peers.random_graph import random_graph

OURS = {"keras_ssl, sparse tensor": ("sparse", False), "keras_ssl, edge list": ("edges", True)}
THEIRS = {"PyG, edge_index": "edge_index", "PyG, CSR": "CSR"}

_steps: Callable[[int], Any] | None = None
_libraries = 0.0


def set_up(form: str, compiled: bool, nodes: int, edges: int, width: int) -> None:
    """Makes graph and model in this process."""
    global _steps, _libraries
    import keras
    import numpy as np
    import scipy.sparse

    from keras_ssl import data, graphs, layers, networks

    layers.graph.GCNConv(2)([np.ones((2, 2)), np.ones((2, 2))])
    _libraries = resident_gigabytes()
    graph = random_graph(nodes, edges, width, width)
    x, y = graph["x"], graph["y"]
    places = (graph.pop("receivers"), graph.pop("senders"))
    a = scipy.sparse.csr_array((np.ones(len(places[0]), "float32"), places), shape=(nodes, nodes))
    del places
    a = layers.graph.GCNConv.preprocess(a)
    steps = data.single_graph(graphs.Graph(x=x, a=a, y=y), adjacency=form).repeat()
    del a
    model = networks.gcn((width, width), classes=width, dropout=0.0, normalize=False, seed=0)
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=compiled,
    )
    _steps = lambda count: model.fit(steps, steps_per_epoch=count, verbose=0)  # noqa: E731


def first() -> dict[str, float]:
    """The peak of the process in the first steps, and without the libraries."""
    return_freed_memory()
    seconds_and_memory(lambda: _steps(2))
    return {"gigabytes": peak_gigabytes() - _libraries, "peak": peak_gigabytes()}


def seconds(steps: int) -> float:
    """Seconds a step."""
    return elapsed(_steps, steps) / steps


class Ours:
    """Our side in a fresh process of its own; asked as a peer is."""

    functions = (set_up, first, seconds)

    def __init__(self):
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def ask(self, call: str, **arguments: Any) -> Any:
        function = {one.__name__: one for one in self.functions}[call]
        return self._process.submit(function, **arguments).result()

    def __enter__(self) -> "Ours":
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.shutdown()


def measure(edges: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures all contenders on a graph of so many edges, prints and returns what was found."""
    size = {"nodes": arguments.nodes, "edges": edges, "width": arguments.width}
    with contextlib.ExitStack() as stack:
        sides = {}
        for name, (form, compiled) in OURS.items():
            sides[name] = stack.enter_context(Ours())
            sides[name].ask("set_up", form=form, compiled=compiled, **size)
        for name, form in THEIRS.items():
            sides[name] = stack.enter_context(Peer("large_graph_pyg.py"))
            sides[name].ask("set_up", form=form, **size)
        memory = {name: side.ask("first") for name, side in sides.items()}
        measured = interleave(
            {
                name: lambda side=side: side.ask("seconds", steps=arguments.steps)
                for name, side in sides.items()
            },
            repeats=arguments.repeats,
        )
    print(f"\n{edges:,} edges{'':14}{'seconds a step':>16}{'GB':>10}{'with libraries':>16}")
    for name, middle in medians(measured).items():
        one = memory[name]
        print(f"{name:26}{middle:16.3f}{one['gigabytes']:10.2f}{one['peak']:16.2f}", flush=True)
    return {"seconds": measured, "memory": memory}


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=200_000)
    parser.add_argument("--edges", type=int, nargs="+", default=[1_000_000, 2_500_000, 5_000_000])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2, help="a repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    with Peer("large_graph_pyg.py") as peer:
        print_machine(peer)
    found = {edges: measure(edges, arguments) for edges in arguments.edges}
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "edges": found}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
