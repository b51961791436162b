"""Predict hidden edges of a citation graph: the table of the paper on graph autoencoders.

    python examples/gae.py gae cora --seeds 10
    python examples/gae.py vgae citeseer --seeds 10

Settings are the paper's: 5 % of the edges hidden to validate and 10 % to test, with as many pairs
that are none; features as they are, convolutions to 32 and 16 channels without bias, 200 steps of
Adam on the whole graph, scores after the last step. Each seed has a split of its own, where the
paper has one for all.
"""

import argparse
import dataclasses

import keras
import numpy as np

from keras_ssl import data, evaluate, graphs, trainers
from keras_ssl.layers.graph import GCNConv, GraphSequential


def convolution(channels: int, activation: str | None = None) -> GCNConv:
    """One layer of the paper's networks; the adjacency is normalised once, before training."""
    return GCNConv(channels, activation=activation, use_bias=False)


def make_trainer(method: str, negatives_per_edge: int | None, seed: int) -> trainers.GAE:
    """The compiled trainer."""
    settings = {"negatives_per_edge": negatives_per_edge, "seed": seed}
    if method == "gae":
        encoder = GraphSequential([convolution(32, "relu"), convolution(16)])
        trainer = trainers.GAE(encoder, **settings)
    else:
        trainer = trainers.VGAE(
            convolution(32, "relu"), convolution(16), convolution(16), **settings
        )
    trainer.compile(keras.optimizers.Adam(0.01))
    return trainer


def run(graph: graphs.Graph, method: str, steps: int, negatives: int | None, seed: int) -> dict:
    """Hide edges, train on the others, and score the hidden ones."""
    keras.utils.set_random_seed(seed)
    split = graphs.split_edges(graph, seed=seed)
    seen = data.single_graph(dataclasses.replace(graph, a=GCNConv.preprocess(split.a), y=None))
    trainer = make_trainer(method, negatives, seed)
    trainer.fit(seen.repeat(steps), verbose=0)
    ((x, a),) = next(iter(seen))
    z = np.asarray(trainer.encode([x, a]))
    return evaluate.link_prediction(z, split.test, split.test_negatives)


def main() -> None:
    """Train with several seeds and print mean and standard deviation of both scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", nargs="?", choices=["gae", "vgae"], default="gae")
    parser.add_argument("dataset", nargs="?", default="cora", help="any graph of data.load_graph")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument(
        "--negatives-per-edge", type=int, help="random pairs for each edge, in place of all pairs"
    )
    arguments = parser.parse_args()
    graph = data.load_graph(arguments.dataset)
    found = []
    for seed in range(arguments.seeds):
        found.append(
            run(graph, arguments.method, arguments.steps, arguments.negatives_per_edge, seed)
        )
        scores = ", ".join(f"{name} {100 * score:.1f}" for name, score in found[-1].items())
        print(f"seed {seed}: {scores}", flush=True)
    for name in found[0]:
        scores = [100 * one[name] for one in found]
        print(
            f"{arguments.method}, {arguments.dataset}, {arguments.seeds} seeds, {name}: "
            f"{np.mean(scores):.1f} +- {np.std(scores):.1f}"
        )


if __name__ == "__main__":
    main()
