"""Learn representations of molecules without labels, by InfoGraph: the paper's row of MUTAG.

    python examples/info_graph.py mutag --seeds 5

The network learns from all graphs and no labels. After each epoch a support vector machine
classifies the representations, in ten folds; its C is chosen by cross-validation within the nine
training folds. Printed are mean and standard deviation over seeds of the mean over folds, at the
one epoch at which it is best, an optimistic figure, as that epoch is chosen on the graphs that it
is measured on; and at the last epoch.
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
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


def main(arguments: argparse.Namespace) -> None:
    """Train with several seeds and print mean and standard deviation of the accuracy."""
    graphs = data.load_graph(arguments.dataset)
    curves = []
    for seed in range(arguments.seeds):
        curves.append(learn(graphs, seed, arguments))
        print(f"seed {seed}: best {max(curves[-1]):.3f}, last {curves[-1][-1]:.3f}", flush=True)
    curves = 100 * np.array(curves)
    best = curves.mean(0).argmax()
    for what, epoch in (("the best epoch", best), ("the last epoch", len(curves[0]) - 1)):
        at = curves[:, epoch]
        print(f"{arguments.dataset}, {what} ({epoch + 1}): {at.mean():.1f} +- {at.std():.1f} %")


def learn(graphs: list, seed: int, arguments: argparse.Namespace) -> list[float]:
    """Train a network on the graphs; return what its representations are worth at each epoch."""
    keras.utils.set_random_seed(seed)
    layers = [graph_layer(arguments.width) for _ in range(arguments.layers)]
    trainer = trainers.InfoGraph(GraphSequential([JumpingKnowledge(layers)]))
    trainer.compile(optimizer=keras.optimizers.Adam(arguments.learning_rate))
    batches = data.disjoint_batches(graphs, arguments.batch_size, shuffle=True, seed=seed)
    whole = data.disjoint_batches(graphs, len(graphs))
    y = np.array([int(graph.y) for graph in graphs])
    curve = []

    def probe(epoch: int, logs: dict) -> None:
        features = trainer.predict(whole, verbose=0)
        curve.append(evaluate.graph_probe(features, y, seed=seed))

    each_epoch = keras.callbacks.LambdaCallback(on_epoch_end=probe)
    trainer.fit(batches, epochs=arguments.epochs, callbacks=[each_epoch], verbose=0)
    return curve


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
