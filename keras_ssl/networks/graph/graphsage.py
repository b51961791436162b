"""GraphSAGE networks."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers.graph import GraphSAGEConv, GraphSequential
from keras_ssl.networks._normalization import check_normalization, normalize_and_activate


def graphsage(
    channels: Sequence[int] = (128, 128),
    classes: int | None = None,
    aggregation: str | keras.layers.Layer = "mean",
    activation: Any = "relu",
    l2_normalize: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
    name: str = "graphsage",
    normalization: bool | keras.layers.Layer = False,
) -> GraphSequential:
    """Build a GraphSAGE network: from `[x, a]` to a vector, or logits, per node.

    Each layer is a `layers.graph.GraphSAGEConv` whose output is scaled to unit length. With
    `classes`, a dense layer to logits follows.

    Args:
        channels: number of features per node after each layer. Each layer adds one hop.
        classes: number of classes for a dense layer at the end; `None` for an encoder.
        aggregation: "mean", "max", "sum", "min" or "std" over the neighbors, or any layer called
            on `[x, a]`, of which each `GraphSAGEConv` gets a copy.
        activation: activation of each layer.
        l2_normalize: whether each layer's output is scaled to unit length.
        dropout: dropout rate of the features before each layer but the first, in [0, 1).
        seed: integer seed of the initial kernels and of dropout.
        name: name of the model.
        normalization: `False` for none, as in the paper; `True` for
            `layers.SyncBatchNormalization()` between each layer and its
            activation; or a Keras layer to be copied.

    Returns:
        `layers.graph.GraphSequential`, which takes adjacencies in any form and graphs of any size.

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
    check_normalization(normalization)
    layers = []
    for number, width in enumerate(channels):
        offset = None if seed is None else seed + 2 * number
        if dropout and number > 0:
            layers.append(keras.layers.Dropout(dropout, seed=offset))
        layers.append(
            GraphSAGEConv(
                width,
                aggregation=_copy(aggregation),
                activation=activation if normalization is False else None,
                l2_normalize=l2_normalize,
                kernel_initializer=keras.initializers.GlorotUniform(offset),
            )
        )
        if normalization is not False:
            layers += normalize_and_activate(normalization, activation)
    if classes is not None:
        offset = None if seed is None else seed + 2 * len(channels)
        kernel_initializer = keras.initializers.GlorotUniform(offset)
        layers.append(keras.layers.Dense(classes, kernel_initializer=kernel_initializer))
    return GraphSequential(layers, name=name)


def _copy(aggregation: Any) -> Any:
    """Return a copy of a layer, without weights; return a string unchanged."""
    if not isinstance(aggregation, keras.layers.Layer):
        return aggregation
    return type(aggregation).from_config(aggregation.get_config())
