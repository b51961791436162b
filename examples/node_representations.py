"""Learn vectors of papers without labels: GRACE, BGRL, GraphMAE and DeepWalk.

    python examples/node_representations.py grace cora --seeds 5
    python examples/node_representations.py bgrl citeseer --seeds 5
    python examples/node_representations.py graph_mae cora --seeds 5
    python examples/node_representations.py deepwalk citeseer --seeds 5

A method learns from the whole graph, whose bags of words are scaled to sum 1. Then a logistic
regression is fitted on the vectors, scaled to length 1, of the 20 labelled nodes per class; the 500
validation nodes choose how it is regularised, and the 1,000 test nodes judge it. The bags of words
themselves and the vectors before training are judged in the same way.

Settings are for a CPU; docs/benchmarks.md says how they differ from published ones. Deep Graph
Infomax is in `dgi.py`.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from keras_ssl import data, evaluate, graphs, layers, losses, optimizers, trainers
from keras_ssl.augment.graph import GraphViews, RandomEdgeDrop, RandomFeatureMask
from keras_ssl.layers.graph import GATConv, GCNConv, GraphSequential, SparseDropout


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a method learns from a graph."""

    trainer: Callable[[graphs.Graph, int], keras.Model]  # compiled, of a graph and the epochs
    epochs: int
    epoch: Callable[[graphs.Graph], tf.data.Dataset]  # the data of one, nodes in their order


def whole_graph(graph: graphs.Graph) -> tf.data.Dataset:
    """The graph as the one batch of an epoch."""
    return data.single_graph(dataclasses.replace(graph, y=None))


def starts_of_walks(graph: graphs.Graph) -> tf.data.Dataset:
    """Numbers of the nodes, in batches."""
    return tf.data.Dataset.from_tensor_slices(np.arange(graph.nodes)).batch(128)


def prelu() -> keras.layers.PReLU:
    """PReLU with one slope for all channels."""
    return keras.layers.PReLU(keras.initializers.Constant(0.25), shared_axes=[1])


def views(edge_rates: Sequence[float], feature_rates: Sequence[float]) -> GraphViews:
    """Make views of a graph; the rates are those of the first and of the second."""
    first, second = zip(edge_rates, feature_rates, strict=True)
    return GraphViews(view(*first), view(*second))


def view(edge_rate: float, feature_rate: float) -> list[keras.layers.Layer]:
    """Make a view of a graph."""
    return [RandomEdgeDrop(edge_rate), RandomFeatureMask(feature_rate)]


def grace(
    graph: graphs.Graph,
    epochs: int,
    width: int,
    activation: Callable[[], keras.layers.Layer],
    edge_rates: Sequence[float],
    feature_rates: Sequence[float],
    temperature: float,
    learning_rate: float,
) -> trainers.GRACE:
    """GRACE with two convolutions, the first twice as wide."""
    penalty = keras.regularizers.L2(5e-6)  # half of the weight decay
    wide, last = (
        GCNConv(channels, normalize=True, kernel_regularizer=penalty)
        for channels in (2 * width, width)
    )
    trainer = trainers.GRACE(
        GraphSequential([wide, activation(), last, activation()]),
        projector=layers.ProjectionHead((width, width), normalization=False, activation="elu"),
        augment=views(edge_rates, feature_rates),
        loss=losses.NTXent(temperature),
    )
    trainer.compile(keras.optimizers.Adam(learning_rate))
    return trainer


def bgrl(
    graph: graphs.Graph,
    epochs: int,
    edge_rates: Sequence[float],
    feature_rates: Sequence[float],
    learning_rate: float,
) -> trainers.BGRL:
    """BGRL with two convolutions, learning rate and momentum by cosines."""
    encoder = []
    for width in (1024, 512):
        # statistics for `predict` are those of the last steps
        normalization = keras.layers.BatchNormalization(momentum=0.9)
        encoder += [GCNConv(width, normalize=True), normalization, prelu()]
    trainer = trainers.BGRL(
        GraphSequential(encoder),
        predictor=layers.PredictionHead(512),
        augment=views(edge_rates, feature_rates),
        momentum=optimizers.cosine_momentum(0.99, epochs),
    )
    warmup = epochs // 10
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, epochs - warmup, warmup_target=learning_rate, warmup_steps=warmup
    )
    trainer.compile(keras.optimizers.AdamW(schedule, weight_decay=1e-5))
    return trainer


def graph_mae(
    graph: graphs.Graph,
    epochs: int,
    width: int,
    attn_heads: int,
    replace_rate: float,
    gamma: float,
    weight_decay: float,
) -> trainers.GraphMAE:
    """GraphMAE with graph attention: two layers encode, one decodes."""
    penalty = keras.regularizers.L2(weight_decay / 2)

    def attention(channels: int, attn_heads: int) -> list[keras.layers.Layer]:
        convolution = GATConv(
            channels,
            attn_heads,
            dropout_rate=0.1,
            # twice the variance of the usual start, as the authors have
            kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_avg"),
            kernel_regularizer=penalty,
        )
        return [SparseDropout(0.2), convolution]

    def encoding() -> list[keras.layers.Layer]:
        return [*attention(width // attn_heads, attn_heads), prelu()]

    to_decoder = keras.layers.Dense(width, use_bias=False, kernel_regularizer=penalty)
    trainer = trainers.GraphMAE(
        GraphSequential([*encoding(), *encoding()]),
        decoder=GraphSequential([to_decoder, *attention(graph.x.shape[1], attn_heads=1)]),
        mask_rate=0.5,
        replace_rate=replace_rate,
        loss=losses.ScaledCosineError(gamma),
    )
    trainer.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, epochs)))
    return trainer


def deepwalk(graph: graphs.Graph, epochs: int) -> trainers.Node2Vec:
    """node2vec with p = q = 1."""
    trainer = trainers.Node2Vec(graph, dim=128, walk_length=40, context_size=10)
    trainer.compile(keras.optimizers.Adam(0.01))
    return trainer


RECIPES = {
    "grace": {
        "cora": Recipe(
            partial(
                grace,
                width=128,
                activation=keras.layers.ReLU,
                edge_rates=(0.2, 0.4),
                feature_rates=(0.3, 0.4),
                temperature=0.4,
                learning_rate=5e-4,
            ),
            epochs=200,
            epoch=whole_graph,
        ),
        "citeseer": Recipe(
            partial(
                grace,
                width=256,
                activation=prelu,
                edge_rates=(0.2, 0.0),
                feature_rates=(0.3, 0.2),
                temperature=0.9,
                learning_rate=1e-3,
            ),
            epochs=200,
            epoch=whole_graph,
        ),
    },
    "bgrl": {
        "cora": Recipe(
            partial(bgrl, edge_rates=(0.5, 0.3), feature_rates=(0.2, 0.5), learning_rate=1e-3),
            epochs=100,
            epoch=whole_graph,
        ),
        "citeseer": Recipe(
            partial(bgrl, edge_rates=(0.4, 0.4), feature_rates=(0.4, 0.1), learning_rate=5e-4),
            epochs=100,
            epoch=whole_graph,
        ),
    },
    "graph_mae": {
        "cora": Recipe(
            partial(
                graph_mae,
                width=256,
                attn_heads=4,
                replace_rate=0.05,
                gamma=3.0,
                weight_decay=2e-4,
            ),
            epochs=500,
            epoch=whole_graph,
        ),
        "citeseer": Recipe(
            partial(
                graph_mae,
                width=256,
                attn_heads=2,
                replace_rate=0.1,
                gamma=1.0,
                weight_decay=2e-5,
            ),
            epochs=200,
            epoch=whole_graph,
        ),
    },
    "deepwalk": {
        dataset: Recipe(deepwalk, epochs=10, epoch=starts_of_walks)
        for dataset in ("cora", "citeseer")
    },
}


def learn(graph: graphs.Graph, recipe: Recipe, epochs: int, seed: int) -> list[np.ndarray]:
    """Return vectors of the nodes before and after training."""
    keras.utils.set_random_seed(seed)
    trainer = recipe.trainer(graph, epochs)
    epoch = recipe.epoch(graph)
    untrained = trainer.predict(epoch, verbose=0)
    trainer.fit(epoch.repeat(epochs), verbose=0)
    return [untrained, trainer.predict(epoch, verbose=0)]


def probe(vectors: np.ndarray, graph: graphs.Graph) -> float:
    """Return the accuracy, in percent, of a linear classifier of vectors of length 1."""
    vectors = keras.utils.normalize(vectors, axis=-1)
    return 100 * evaluate.node_probe(vectors, graph, regularizations=(0.1, 1.0, 10.0, 100.0))


def main() -> None:
    """Learn with several seeds and print mean and standard deviation of the accuracies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", nargs="?", choices=RECIPES, default="grace")
    parser.add_argument("dataset", nargs="?", choices=["cora", "citeseer"], default="cora")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="in place of the recipe's")
    arguments = parser.parse_args()
    graph = data.load_graph(arguments.dataset)
    graph = dataclasses.replace(graph, x=graphs.row_normalize(graph.x))
    recipe = RECIPES[arguments.method][arguments.dataset]
    epochs = arguments.epochs or recipe.epochs
    print(f"bags of words: {probe(graph.x.toarray(), graph):.1f} %", flush=True)
    accuracies = []
    for seed in range(arguments.seeds):
        accuracies.append([probe(vectors, graph) for vectors in learn(graph, recipe, epochs, seed)])
        untrained, trained = accuracies[-1]
        print(f"seed {seed}: untrained {untrained:.1f} %, trained {trained:.1f} %", flush=True)
    means, deviations = np.mean(accuracies, axis=0), np.std(accuracies, axis=0)
    title = f"{arguments.method}, {arguments.dataset}, {arguments.seeds} seeds"
    for name, mean, std in zip(("untrained", "trained"), means, deviations, strict=True):
        print(f"{title}, {name}: {mean:.1f} +- {std:.1f} %")


if __name__ == "__main__":
    main()
