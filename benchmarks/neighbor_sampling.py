"""An epoch of GraphSAGE on sampled neighbours: its time should grow with the seeds alone (no peer).

1. A random graph of 200,000 nodes and 5 million edges, with more and more seeds.
2. The same number of seeds in graphs of other sizes.

PyTorch Geometric's `NeighborLoader` needs pyg-lib or torch-sparse, compiled extensions that the
peers' environment does not have; so there is no peer here.

    taskset -c 0,1 python benchmarks/neighbor_sampling.py
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import elapsed, interleave, machine, medians, print_machine
from peers.random_graph import random_graph


def make_graph(nodes: int, edges: int, features: int) -> Any:
    """Returns a random graph with features and classes."""
    import scipy.sparse

    from keras_ssl import graphs

    parts = random_graph(nodes, edges, features, 16)
    places = (parts["receivers"], parts["senders"])
    a = scipy.sparse.csr_array((np.ones(len(places[0]), "float32"), places), shape=(nodes, nodes))
    return graphs.Graph(x=parts["x"], a=a, y=parts["y"])


def epoch_of(graph: Any, seeds: int, arguments: argparse.Namespace) -> Callable[[], float]:
    """Returns a function that trains for an epoch and returns its seconds."""
    import keras

    from keras_ssl import data, layers

    batches = data.neighbor_batches(
        graph, np.arange(seeds), arguments.fanouts, arguments.batch_size, shuffle=True, seed=0
    )
    model = layers.graph.GraphSequential(
        [layers.graph.GraphSAGEConv(64, activation="relu"), layers.graph.GraphSAGEConv(16)]
    )
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return lambda: elapsed(lambda: model.fit(batches, verbose=0))


def table(title: str, epochs: dict[str, Callable[[], float]], seeds: list[int], repeats: int):
    """Times the epochs in turns, prints and returns the seconds."""
    measured = interleave(epochs, repeats=repeats)
    print(f"\n{title:32}{'seconds an epoch':>18}{'microseconds a seed':>22}")
    for (name, middle), count in zip(medians(measured).items(), seeds, strict=True):
        print(f"{name:32}{middle:18.3f}{1e6 * middle / count:22.1f}", flush=True)
    return measured


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[4096, 8192, 16384, 32768])
    parser.add_argument("--nodes", type=int, nargs="+", default=[20_000, 200_000, 400_000])
    parser.add_argument("--edges-a-node", type=int, default=25)
    parser.add_argument("--fanouts", type=int, nargs="+", default=[10, 5])
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    print_machine()

    graphs = {
        nodes: make_graph(nodes, nodes * arguments.edges_a_node, arguments.features)
        for nodes in arguments.nodes
    }
    middle = graphs[arguments.nodes[len(arguments.nodes) // 2]]
    by_seeds = table(
        f"{middle.nodes:,} nodes",
        {f"{count:,} seeds": epoch_of(middle, count, arguments) for count in arguments.seeds},
        arguments.seeds,
        arguments.repeats,
    )
    count = arguments.seeds[0]
    by_nodes = table(
        f"{count:,} seeds",
        {f"{n:,} nodes": epoch_of(graph, count, arguments) for n, graph in graphs.items()},
        [count] * len(graphs),
        arguments.repeats,
    )
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments)}
        report |= {"by seeds": by_seeds, "by nodes": by_nodes}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
