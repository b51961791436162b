"""Graph attention networks."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers.graph import GATConv, GraphSequential
from keras_ssl.networks._normalization import check_normalization, normalize_and_activate


def gat(
    channels: Sequence[int] = (8,),
    classes: int | None = None,
    attn_heads: int = 8,
    output_heads: int = 1,
    activation: Any = "elu",
    dropout: float = 0.6,
    kernel_regularizer: Any = None,
    bias_regularizer: Any = None,
    seed: int | None = None,
    name: str = "gat",
    normalization: bool | keras.layers.Layer = False,
) -> GraphSequential:
    """Build a graph attention network: from `[x, a]` to a vector, or logits, per node.

    Each hidden layer is a `layers.graph.GATConv` with concatenated heads, and dropout of features
    and coefficients. With `classes`, a layer follows whose averaged heads are the logits. The
    defaults are the paper's network for Cora and CiteSeer, which also has the penalty
    `keras.regularizers.L2(2.5e-4)` on kernels and biases.

    Args:
        channels: number of features per head in each hidden layer.
        classes: number of classes for a last layer without activation; `None` for an encoder.
        attn_heads: number of heads of the hidden layers.
        output_heads: number of heads of the last layer (8 for PubMed in the paper).
        activation: activation of the hidden layers.
        dropout: dropout rate in [0, 1) of the attention coefficients, of the input features of each
            head, and of the projected features (the latter two as in the authors' code).
        kernel_regularizer: regularizer of all kernels and attention vectors.
        bias_regularizer: regularizer of all biases.
        seed: integer seed of the initial weights and of dropout.
        name: name of the model.
        normalization: `False` for none, as in the paper; `True` for
            `layers.SyncBatchNormalization()` between each hidden layer and its
            activation; or a Keras layer to be copied.

    Returns:
        `layers.graph.GraphSequential`, which takes adjacencies in any form, sparse features, and
        graphs of any size. An encoder returns `attn_heads * channels[-1]` features per node.

    Raises:
        ValueError: if `channels` is empty and `classes` is `None`, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> model = networks.gat((8,), classes=2)
    >>> model([np.ones((5, 4)), np.ones((5, 5))]).shape
    TensorShape([5, 2])

    Reference:
        - [Velickovic et al., 2018](https://arxiv.org/abs/1710.10903), section 3.3
    """
    widths = [*channels, *([] if classes is None else [classes])]
    if not widths:
        raise ValueError("`channels` must not be empty without `classes`. Received: channels=()")
    check_normalization(normalization)
    layers = []
    for number, width in enumerate(widths):
        is_logits = classes is not None and number == len(widths) - 1
        offset = None if seed is None else seed + 4 * number
        layers.append(
            GATConv(
                width,
                attn_heads=output_heads if is_logits else attn_heads,
                concat_heads=not is_logits,
                dropout_rate=dropout,
                input_dropout_rate=dropout,
                feature_dropout_rate=dropout,
                seed=None if seed is None else offset + 1,
                activation=None if is_logits or normalization is not False else activation,
                kernel_initializer=keras.initializers.GlorotUniform(offset),
                kernel_regularizer=kernel_regularizer,
                attn_kernel_regularizer=kernel_regularizer,
                bias_regularizer=bias_regularizer,
            )
        )
        if normalization is not False and not is_logits:
            layers += normalize_and_activate(normalization, activation)
    return GraphSequential(layers, name=name)
