"""Real images, and networks of a few thousand weights, for the tests of trainers."""

from functools import cache

import keras
import numpy as np
import scipy.sparse

from keras_ssl import layers
from keras_ssl.data import _fashion_mnist_mini as fashion_mnist_mini


@cache
def images() -> tuple[np.ndarray, np.ndarray]:
    """Return 256 real images of 28x28 and their labels."""
    return fashion_mnist_mini.read_arrays("train[:256]")


@cache
def scaled_images() -> np.ndarray:
    """Return the images as floats in [0, 1], flat."""
    return images()[0].reshape(256, -1).astype("float32") / 255


@cache
def tokens() -> np.ndarray:
    """Return the middle rows of the images as 28 integer tokens of 1 to 8: grey levels."""
    return images()[0][:, 14, :, 0].astype("int32") // 32 + 1


def encoder(normalize: bool = False, size: int | None = 28) -> keras.Model:
    """Make a convolutional encoder of a few thousand weights; of any size with `size=None`."""
    blocks = [
        keras.layers.Input((size, size, 1)),
        keras.layers.Rescaling(1 / 127.5, offset=-1),
        keras.layers.Conv2D(8, 3, strides=2, padding="same"),
        layers.SyncBatchNormalization() if normalize else keras.layers.Identity(),
        keras.layers.ReLU(),
        keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
    ]
    return keras.Sequential(blocks)


def batch_norm_head() -> layers.ProjectionHead:
    """Make a projector whose embeddings differ from the start, as random ones of a queue do."""
    return layers.ProjectionHead((32, 16), normalization=False, last_normalization=True)


def dense(*widths: int, inputs: int, last: str | None = None) -> keras.Model:
    """Make a perceptron with ReLU between its layers."""
    hidden = [keras.layers.Dense(width, "relu") for width in widths[:-1]]
    return keras.Sequential(
        [keras.layers.Input((inputs,)), *hidden, keras.layers.Dense(widths[-1], last)]
    )


@cache
def image_graphs() -> tuple[np.ndarray, np.ndarray]:
    """Return the images as graphs of 16 patches, those side by side linked; weights are alikeness.

    Features `(256, 16, 49)` in [0, 1], adjacency `(256, 16, 16)`.
    """
    patches = scaled_images().reshape(256, 4, 7, 4, 7).transpose(0, 1, 3, 2, 4).reshape(256, 16, 49)
    places = np.stack(np.meshgrid(np.arange(4), np.arange(4), indexing="ij"), -1).reshape(16, 2)
    linked = np.abs(places[:, None] - places[None]).sum(-1) == 1
    difference = np.abs(patches[:, :, None] - patches[:, None]).mean(-1)
    return patches, (linked * np.exp(-difference)).astype("float32")


@cache
def node_labels() -> np.ndarray:
    """Return the label of its image for each patch, `(256, 16)`."""
    return np.repeat(images()[1][:, None], 16, axis=1)


@cache
def block_graph() -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """Return a graph of four blocks of 32 nodes, most edges within one, and its nodes' blocks."""
    blocks = np.repeat(np.arange(4), 32)
    chance = np.where(blocks[:, None] == blocks[None], 0.3, 0.02)
    half = np.triu(np.random.default_rng(0).random((128, 128)) < chance, 1)
    return scipy.sparse.csr_array((half | half.T).astype("float32")), blocks


def graph_encoder(*widths: int) -> keras.Model:
    """Make a graph convolutional network with ReLU between its layers."""
    convolutions = [layers.graph.GCNConv(width, normalize=True) for width in widths]
    steps = [step for one in convolutions for step in (one, keras.layers.ReLU())]
    return layers.graph.GraphSequential(steps[:-1])
