"""Seconds of an epoch of `data.neighbor_batches`, by number of seeds and by size of the graph.

On random graphs of 25 edges per node and 64 features. Only the pipeline runs, no network.
The cost of an epoch should grow with the number of seeds, and hardly with the graph: what grows
with it is how seldom the memory that is looked up lies in a cache.
"""

import argparse

import numpy as np
from measure import elapsed, interleave, medians, print_machine

from keras_ssl import data, graphs


def random_graph(nodes: int, degree: int, features: int) -> graphs.Graph:
    """A directed graph whose edges lie anywhere."""
    rng = np.random.default_rng(0)
    edges = {name: rng.integers(0, nodes, nodes * degree) for name in ("senders", "receivers")}
    x = rng.normal(size=(nodes, features)).astype("float32")
    return graphs.from_edge_list(edges, nodes, x, y=rng.integers(0, 10, nodes))


def epoch(batches) -> None:
    for _ in batches:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--degree", type=int, default=25)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--fanouts", type=int, nargs="+", default=[10, 5])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()

    contenders = {}
    for nodes in arguments.nodes:
        graph = random_graph(nodes, arguments.degree, arguments.features)
        for count in arguments.seeds:
            seeds = np.random.default_rng(1).integers(0, nodes, count)
            batches = data.neighbor_batches(
                graph, seeds, arguments.fanouts, arguments.batch, shuffle=True
            )
            contenders[nodes, count] = lambda batches=batches: elapsed(epoch, batches)
    seconds = medians(interleave(contenders, arguments.repeats))
    print(f"{'nodes':>10}{'seeds':>10}{'seconds':>10}{'microseconds a seed':>24}")
    for (nodes, count), value in seconds.items():
        print(f"{nodes:10}{count:10}{value:10.3f}{1e6 * value / count:24.1f}")
    print_machine()


if __name__ == "__main__":
    main()
