"""Classify the nodes of a citation graph: the tables of the papers on GCN and GAT.

    python examples/node_classification.py gcn cora --seeds 20
    python examples/node_classification.py gat citeseer --seeds 20

Data, split and settings are the papers': bags of words whose rows have sum 1, 20 labelled nodes per
class, 500 nodes to stop by, 1,000 to test on.
"""

import argparse
import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from keras_ssl import data, graphs, networks
from keras_ssl.layers.graph import GCNConv


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a paper trains its network."""

    network: Callable[[int, int], keras.Model]  # of the number of classes and a seed
    learning_rate: float
    epochs: int
    patience: int


PENALTY = keras.regularizers.L2(2.5e-4)  # the papers take half of 5e-4 times the squared weights
RECIPES = {
    "gcn": Recipe(
        lambda classes, seed: networks.gcn(
            (16,), classes, normalize=False, kernel_regularizer=PENALTY, seed=seed
        ),
        learning_rate=0.01,
        epochs=200,
        patience=200,
    ),
    "gat": Recipe(
        lambda classes, seed: networks.gat(
            (8,), classes, kernel_regularizer=PENALTY, bias_regularizer=PENALTY, seed=seed
        ),
        learning_rate=0.005,
        epochs=10_000,
        patience=100,
    ),
}


class KeepBest(keras.callbacks.Callback):
    """Keep the weights of the epoch that was best on the validation nodes, as GAT's authors do.

    Best is an epoch whose cross-entropy and accuracy are both as good as any before. Training
    stops when for `patience` epochs neither was.
    """

    def __init__(self, patience: int):
        super().__init__()
        self.patience = patience
        self.loss, self.accuracy, self.since, self.weights = np.inf, 0.0, 0, None

    def on_epoch_end(self, epoch, logs=None):
        is_lower = logs["val_cross_entropy"] <= self.loss
        is_higher = logs["val_accuracy"] >= self.accuracy
        if is_lower and is_higher:
            self.weights = self.model.get_weights()
        self.loss = min(self.loss, logs["val_cross_entropy"])
        self.accuracy = max(self.accuracy, logs["val_accuracy"])
        self.since = 0 if is_lower or is_higher else self.since + 1
        self.model.stop_training = self.since >= self.patience

    def on_train_end(self, logs=None):
        self.model.set_weights(self.weights)


def load(dataset: str, network: str) -> graphs.Graph:
    """Return the graph as the network takes it; GCN's adjacency is normalised once, here."""
    graph = data.load_graph(dataset)
    a = GCNConv.preprocess(graph.a) if network == "gcn" else graph.a
    return dataclasses.replace(graph, x=graphs.row_normalize(graph.x), a=a)


def train(graph: graphs.Graph, recipe: Recipe, seed: int) -> float:
    """Train one network and return its accuracy on the test nodes."""
    keras.utils.set_random_seed(seed)
    model = recipe.network(int(graph.y.max()) + 1, seed)
    model.compile(
        optimizer=keras.optimizers.Adam(recipe.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # the loss holds the penalty as well
        weighted_metrics=[
            "accuracy",
            keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy"),
        ],
    )
    model.fit(
        data.single_graph(graph, "train"),
        epochs=recipe.epochs,
        validation_data=data.single_graph(graph, "val"),
        callbacks=[KeepBest(recipe.patience)],
        shuffle=False,
        verbose=0,
    )
    test = data.single_graph(graph, "test")
    return 100 * model.evaluate(test, verbose=0, return_dict=True)["accuracy"]


def main() -> None:
    """Train with several seeds and print mean and standard deviation of the accuracy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", choices=RECIPES, default="gcn")
    parser.add_argument("dataset", nargs="?", default="cora", help="cora, citeseer or pubmed")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    graph = load(arguments.dataset, arguments.network)
    accuracies = []
    for seed in range(arguments.seeds):
        accuracies.append(train(graph, RECIPES[arguments.network], seed))
        print(f"seed {seed}: {accuracies[-1]:.1f} %", flush=True)
    print(
        f"{arguments.network}, {arguments.dataset}, {arguments.seeds} seeds: "
        f"{np.mean(accuracies):.1f} +- {np.std(accuracies):.1f} %"
    )


if __name__ == "__main__":
    main()
