"""Networks on the features of edges, inside of a layer."""

from typing import Any

import keras
from keras import ops


def check_network(name: str, network: Any) -> None:
    """Raise unless a network is a Keras layer.

    Args:
        name: the argument's name.
        network: what it got.

    Raises:
        TypeError: if it is none.
    """
    if not isinstance(network, keras.layers.Layer):
        raise TypeError(
            f"`{name}` must be a Keras layer. Received: {network} of type {type(network)}"
        )


def build_network(network: keras.layers.Layer, features: int) -> int:
    """Make the weights of a network on rows of features.

    Args:
        network: the network.
        features: how many it gets.

    Returns:
        How many it gives.
    """
    if not network.built:
        network.build((None, features))
    return network.compute_output_shape((None, features))[-1]


def apply_to_edges(network: keras.layers.Layer, features: Any) -> Any:
    """Apply a network to the features of each edge.

    Networks of many layers are strict about the number of axes; they get one row an edge,
    whatever form the edges have.

    Args:
        network: a layer from `(rows, features)` to `(rows, channels)`.
        features: `(..., features)`.

    Returns:
        `(..., channels)`.
    """
    rows = network(ops.reshape(features, (-1, features.shape[-1])))
    return ops.reshape(rows, (*ops.shape(features)[:-1], rows.shape[-1]))
