"""Graph convolutional networks."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers.graph import GCNConv, GraphSequential, SparseDropout
from keras_ssl.networks._normalization import check_normalization, normalize_and_activate


def gcn(
    channels: Sequence[int] = (16,),
    classes: int | None = None,
    activation: Any = "relu",
    dropout: float = 0.5,
    normalize: bool = True,
    kernel_regularizer: Any = None,
    seed: int | None = None,
    name: str = "gcn",
    normalization: bool | keras.layers.Layer = False,
) -> GraphSequential:
    """Build a graph convolutional network: from `[x, a]` to a vector, or logits, per node.

    Each hidden layer is dropout and a graph convolution with activation. With `classes`, a
    convolution to logits follows. The paper has `channels=(16,)`, and on the first kernel the
    penalty `keras.regularizers.L2(2.5e-4)`.

    Args:
        channels: number of features per node after each hidden convolution.
        classes: number of classes for a last convolution without activation; `None` for an encoder.
        activation: activation of the hidden convolutions.
        dropout: dropout rate of the features before each convolution, in [0, 1).
        normalize: whether `a` is the plain adjacency, normalized in each call. With `False`, pass
            `layers.graph.GCNConv.preprocess(a)`, computed once.
        kernel_regularizer: regularizer of the first kernel.
        seed: integer seed of the initial weights and of dropout.
        name: name of the model.
        normalization: `False` for none, as in the paper; `True` for
            `layers.SyncBatchNormalization()` between each hidden convolution and its
            activation; or a Keras layer to be copied.

    Returns:
        `layers.graph.GraphSequential`, which takes adjacencies in any form, sparse features, and
        graphs of any size.

    Raises:
        ValueError: if `channels` is empty and `classes` is `None`, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> model = networks.gcn((16,), classes=2)
    >>> model([np.ones((5, 4)), np.ones((5, 5))]).shape
    TensorShape([5, 2])

    Reference:
        - [Kipf and Welling, 2017](https://arxiv.org/abs/1609.02907)
    """
    widths = [*channels, *([] if classes is None else [classes])]
    if not widths:
        raise ValueError("`channels` must not be empty without `classes`. Received: channels=()")
    check_normalization(normalization)
    layers = []
    for number, width in enumerate(widths):
        is_logits = classes is not None and number == len(widths) - 1
        offset = None if seed is None else seed + number
        if dropout:
            layers.append(SparseDropout(dropout, seed=offset))
        layers.append(
            GCNConv(
                width,
                normalize=normalize,
                activation=None if is_logits or normalization is not False else activation,
                kernel_initializer=keras.initializers.GlorotUniform(offset),
                kernel_regularizer=kernel_regularizer if number == 0 else None,
            )
        )
        if normalization is not False and not is_logits:
            layers += normalize_and_activate(normalization, activation)
    return GraphSequential(layers, name=name)
