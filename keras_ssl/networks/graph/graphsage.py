"""GraphSAGE networks."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers.graph import GraphSAGEConv, GraphSequential


def graphsage(
    channels: Sequence[int] = (128, 128),
    classes: int | None = None,
    aggregation: str | keras.layers.Layer = "mean",
    activation: Any = "relu",
    l2_normalize: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
    name: str = "graphsage",
) -> GraphSequential:
    """Build a GraphSAGE network: from `[x, a]` to a vector, or logits, a node.

    Each width is a `layers.graph.GraphSAGEConv` whose output is scaled to length 1. With
    `classes`, a dense layer to logits follows.

    Args:
        channels: features of a node after each layer: one layer for each step that a node sees far.
        classes: number of classes for a dense layer at the end; `None` for an encoder.
        aggregation: "mean", "max", "sum", "min" or "std" of the neighbours, or any layer on
            `[x, a]` as a pattern, of which each `GraphSAGEConv` gets a copy.
        activation: activation of each layer.
        l2_normalize: whether each layer's output is scaled to length 1.
        dropout: float in [0, 1). Share of the features dropped before each layer but the first.
        seed: integer seed of the initial kernels and of dropout.
        name: name of the model.

    Returns:
        `layers.graph.GraphSequential`, which takes dense, sparse and listed edges, and graphs of
        any size.

    Raises:
        ValueError: if `channels` is empty, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.graphsage((16, 8))
    >>> encoder([np.ones((5, 4)), np.ones((5, 5))]).shape
    TensorShape([5, 8])

    Reference:

    - [Hamilton et al., 2017](https://arxiv.org/abs/1706.02216)
    """
    if not channels:
        raise ValueError(f"`channels` must not be empty. Received: channels={channels}")
    layers = []
    for number, width in enumerate(channels):
        offset = None if seed is None else seed + 2 * number
        if dropout and number > 0:
            layers.append(keras.layers.Dropout(dropout, seed=offset))
        layers.append(
            GraphSAGEConv(
                width,
                aggregation=_copy(aggregation),
                activation=activation,
                l2_normalize=l2_normalize,
                kernel_initializer=keras.initializers.GlorotUniform(offset),
            )
        )
    if classes is not None:
        offset = None if seed is None else seed + 2 * len(channels)
        kernel_initializer = keras.initializers.GlorotUniform(offset)
        layers.append(keras.layers.Dense(classes, kernel_initializer=kernel_initializer))
    return GraphSequential(layers, name=name)


def _copy(aggregation: Any) -> Any:
    """Return a name as it is, of a layer one like it without weights."""
    if not isinstance(aggregation, keras.layers.Layer):
        return aggregation
    return type(aggregation).from_config(aggregation.get_config())
