"""Graph isomorphism networks."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers import ProjectionHead
from keras_ssl.layers.graph import GINConv, GraphSequential, JumpingKnowledge, SumPool
from keras_ssl.layers.graph.pool.node_pool import NodePool


def gin(
    channels: Sequence[int] = (32, 32, 32, 32),
    classes: int | None = None,
    learn_epsilon: bool = False,
    include_input: bool = False,
    normalization: bool | keras.layers.Layer = True,
    pool: NodePool | None = None,
    dropout: float = 0.5,
    seed: int | None = None,
    name: str = "gin",
) -> GraphSequential:
    """Build a graph isomorphism network: a vector per node, or logits per graph.

    Each layer is a `layers.graph.GINConv` with an MLP of two dense layers, each followed by batch
    normalization and ReLU. The outputs of all layers are concatenated. They are the output of an
    encoder; their sum over the nodes represents the graph. With `classes`, sum, dropout and a dense
    layer follow, equal to the sum of one linear classifier per layer. The paper's network is
    `gin((32,) * 4, classes, include_input=True)`.

    Args:
        channels: number of features per node after each layer.
        classes: number of classes of graphs; `None` for an encoder of nodes.
        learn_epsilon: whether each layer learns its ε (GIN-ε), or uses 0 (GIN-0).
        include_input: whether the input features are part of the output.
        normalization: `True` for `layers.SyncBatchNormalization()` after each dense layer, `False`
            for none, or a Keras layer to be copied. Batch normalization fixes the rank of `x`: a
            network built on `(nodes, features)` does not take `(batch, nodes, features)`.
        pool: pooling layer; `None` for `layers.graph.SumPool()`. For static shapes, pass
            `SumPool(graphs=...)`. Used only with `classes`.
        dropout: dropout rate before the classifier, in [0, 1).
        seed: integer seed of the initial weights and of dropout.
        name: name of the model.

    Returns:
        `layers.graph.GraphSequential` called on `[x, a]`; in disjoint mode a classifier is called
        on `[x, a, i]`, in batch mode optionally on `[x, a, mask]`. An encoder returns
        `sum(channels)` features per node.

    Raises:
        ValueError: if `channels` is empty, or an argument is out of range.
        TypeError: if `pool` is not a pooling layer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> model = networks.gin((16, 16), classes=2)
    >>> graph_of_node = np.array([0, 0, 0, 1, 1])
    >>> model([np.ones((5, 4)), np.eye(5), graph_of_node]).shape
    TensorShape([2, 2])
    >>> networks.gin((16, 16))([np.ones((5, 4)), np.eye(5)]).shape
    TensorShape([5, 32])

    Reference:
        - [Xu et al., 2019](https://arxiv.org/abs/1810.00826), section 4.2
    """
    if pool is not None and not isinstance(pool, NodePool):
        raise TypeError(f"`pool` must be a pooling layer such as `SumPool`. Received: {pool}")
    convolutions = [
        GINConv(
            ProjectionHead(
                (width, width),
                normalization,
                last_normalization=normalization,
                kernel_initializer=_initializer(seed, 2 * number),
            ),
            learn_epsilon=learn_epsilon,
            activation="relu",
        )
        for number, width in enumerate(channels)
    ]
    layers = [JumpingKnowledge(convolutions, include_input)]
    if classes is not None:
        layers.append(SumPool() if pool is None else pool)
        if dropout:
            layers.append(keras.layers.Dropout(dropout, seed=seed))
        kernel_initializer = _initializer(seed, 2 * len(channels))
        layers.append(keras.layers.Dense(classes, kernel_initializer=kernel_initializer))
    return GraphSequential(layers, name=name)


def _initializer(seed: int | None, offset: int) -> Any:
    return keras.initializers.GlorotUniform(None if seed is None else seed + offset)
