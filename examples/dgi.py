"""Learn vectors of papers from their words and citations, by Deep Graph Infomax: its paper's table.

    python examples/dgi.py cora --seeds 20
    python examples/dgi.py citeseer --seeds 20

The settings are the paper's: one graph convolution of 512 features with PReLU, rows of the bags of
words with sum 1, Adam at 0.001, training until its loss has not fallen for 20 epochs, and the
weights of the lowest loss. No labels are used. Then a logistic regression is fitted on the vectors
of the 20 labelled nodes per class; the 500 validation nodes choose how it is regularised.
"""

import argparse
import dataclasses

import keras
import numpy as np

from keras_ssl import data, evaluate, graphs, layers, trainers
from keras_ssl.layers.graph import GCNConv, GraphSequential


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="?", default="cora", help="cora, citeseer or pubmed")
    parser.add_argument("--width", type=int, default=512, help="features of a node")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--patience", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10_000, help="at most")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    return parser.parse_args()


def main(arguments: argparse.Namespace) -> None:
    """Train with several seeds and print mean and standard deviation of the accuracy."""
    graph = data.load_graph(arguments.dataset)
    a = GCNConv.preprocess(graph.a)
    graph = dataclasses.replace(graph, x=graphs.row_normalize(graph.x), a=a)
    accuracies = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        accuracies.append(100 * evaluate.node_probe(learn(graph, seed, arguments), graph))
        print(f"seed {seed}: {accuracies[-1]:.1f} %", flush=True)
    print(
        f"DGI, {arguments.dataset}, {arguments.seeds} seeds: "
        f"{np.mean(accuracies):.1f} +- {np.std(accuracies):.1f} %"
    )


def learn(graph: graphs.Graph, seed: int, arguments: argparse.Namespace) -> np.ndarray:
    """Train an encoder on the graph and return the vectors of its nodes."""
    keras.utils.set_random_seed(seed)
    prelu = keras.layers.PReLU(keras.initializers.Constant(0.25), shared_axes=[1])
    encoder = GraphSequential([GCNConv(arguments.width), prelu])
    # the authors' start of W, much smaller than that of a dense layer
    bound = np.sqrt(6 / (arguments.width**2 + arguments.width))
    critic = layers.BilinearCritic(keras.initializers.RandomUniform(-bound, bound))
    trainer = trainers.DGI(encoder, critic=critic)
    trainer.compile(optimizer=keras.optimizers.Adam(arguments.learning_rate))
    patience = keras.callbacks.EarlyStopping(
        monitor="loss", patience=arguments.patience, restore_best_weights=True
    )
    whole = data.single_graph(dataclasses.replace(graph, y=None))
    trainer.fit(whole, epochs=arguments.epochs, callbacks=[patience], verbose=0)
    return trainer.predict(whole, verbose=0)


if __name__ == "__main__":
    main(parse_arguments())
