"""Small random graphs, single, in unions and padded, and the losses of a trainer."""

import keras
import numpy as np
import tensorflow as tf

from keras_ssl.layers.graph import GCNConv, GraphSequential
from keras_ssl.trainers.step import Batch


def encoder(width=3):
    keras.utils.set_random_seed(0)
    return GraphSequential([GCNConv(width, normalize=True)])


def graph(seed, nodes=7):
    """Return five features per node and a symmetric adjacency."""
    rng = np.random.default_rng(seed)
    half = np.triu(rng.uniform(size=(nodes, nodes)) < 0.4, 1)
    return rng.normal(size=(nodes, 5)).astype("float32"), (half | half.T).astype("float32")


def joined(*graphs):
    """Return the union of graphs, `(x, a, i)`."""
    sizes = [len(x) for x, _ in graphs]
    a = np.zeros((sum(sizes),) * 2, "float32")
    for start, size, (_, one) in zip(np.cumsum(sizes) - sizes, sizes, graphs, strict=True):
        a[start : start + size, start : start + size] = one
    return np.concatenate([x for x, _ in graphs]), a, np.repeat(np.arange(len(graphs)), sizes)


def padded(*graphs, nodes):
    """Return a batch of graphs `(x, a, mask)` whose padded nodes have nonzero features."""
    x = np.full((len(graphs), nodes, 5), 3.0, "float32")
    a = np.zeros((len(graphs), nodes, nodes), "float32")
    for number, (features, edges) in enumerate(graphs):
        x[number, : len(features)] = features
        a[number, : len(features), : len(features)] = edges
    return x, a, np.arange(nodes) < np.array([[len(features)] for features, _ in graphs])


def losses_of(trainer, *graph, training=True):
    """Return the losses and the representation of a graph, after the augmentation."""
    graph = keras.tree.map_structure(
        lambda one: tf.constant(one) if isinstance(one, np.ndarray) else one, graph
    )
    views = graph if trainer.augment is None else trainer.augment(graph, training=True)
    losses = trainer.compute_losses(Batch(graph, views), training)
    return {name: np.asarray(value, "float64") for name, value in losses.items()}


def normalized(z):
    """Scale rows to length 1; zeros stay zeros."""
    z = np.asarray(z, "float64")
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    return z / np.where(length == 0, 1, length)
