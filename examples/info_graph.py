"""Learn representations of molecules without labels, by InfoGraph: the paper's row of MUTAG.

    python examples/info_graph.py mutag --seeds 5

The network learns from all graphs and no labels. Then a support vector machine classifies the
representations, in ten folds; its C is chosen by cross-validation within the nine training folds.
The figure is the mean over folds, with the mean and standard deviation over seeds beside it, at
the last epoch: nothing is chosen on the graphs that it is measured on.
"""

import argparse

import keras
import numpy as np

from keras_ssl import data, evaluate, trainers
from keras_ssl.layers.graph import GINConv, GraphSequential, JumpingKnowledge


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="?", default="mutag", help="mutag, proteins, nci1, ...")
    parser.add_argument("--width", type=int, default=32, help="features of a layer")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


def main(arguments: argparse.Namespace) -> None:
    """Train with several seeds and print mean and standard deviation of the accuracy."""
    graphs = data.load_graph(arguments.dataset)
    y = np.array([int(graph.y) for graph in graphs])
    accuracies = []
    for seed in range(arguments.seeds):
        features = learn(graphs, seed, arguments)
        accuracies.append(100 * evaluate.graph_probe(features, y, seed=seed))
        print(f"seed {seed}: {accuracies[-1]:.1f} %", flush=True)
    print(
        f"InfoGraph, {arguments.dataset}, {arguments.seeds} seeds: "
        f"{np.mean(accuracies):.1f} +- {np.std(accuracies):.1f} %"
    )


def learn(graphs: list, seed: int, arguments: argparse.Namespace) -> np.ndarray:
    """Train a network on the graphs and return a vector of each."""
    keras.utils.set_random_seed(seed)
    layers = [graph_layer(arguments.width) for _ in range(arguments.layers)]
    trainer = trainers.InfoGraph(GraphSequential([JumpingKnowledge(layers)]))
    trainer.compile(optimizer=keras.optimizers.Adam(arguments.learning_rate))
    batches = data.disjoint_batches(graphs, arguments.batch_size, shuffle=True, seed=seed)
    trainer.fit(batches, epochs=arguments.epochs, verbose=0)
    return trainer.predict(data.disjoint_batches(graphs, len(graphs)), verbose=0)


def graph_layer(width: int) -> GINConv:
    """Make a layer as the authors do: normalisation follows the last activation."""
    perceptron = [
        keras.layers.Dense(width, "relu"),
        keras.layers.Dense(width, "relu"),
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
    ]
    return GINConv(keras.Sequential(perceptron))


if __name__ == "__main__":
    main(parse_arguments())
