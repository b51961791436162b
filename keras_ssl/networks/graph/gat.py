"""Graph attention networks."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers.graph import GATConv, GraphSequential


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
) -> GraphSequential:
    """Build a graph attention network: from `[x, a]` to a vector, or logits, a node.

    Each width is a `layers.graph.GATConv` whose heads are put side by side, with dropout of
    features and coefficients in it. With `classes`, a layer of `output_heads`
    heads follows, whose mean are the logits. The defaults are the paper's network for Cora and
    CiteSeer, which has the penalty `keras.regularizers.L2(2.5e-4)` on kernels and biases.

    Args:
        channels: features of each head of each hidden layer.
        classes: number of classes for a last layer without activation; `None` for an encoder.
        attn_heads: heads of the hidden layers.
        output_heads: heads of the last layer (the paper has 8 for PubMed).
        activation: activation of the hidden layers.
        dropout: float in [0, 1). Share of the features dropped before each layer, for each head
            anew, and after their projection, both as in the authors' code; and of the attention
            coefficients.
        kernel_regularizer: regularizer of all kernels and attention vectors.
        bias_regularizer: regularizer of all biases.
        seed: integer seed of the initial weights and of dropout.
        name: name of the model.

    Returns:
        `layers.graph.GraphSequential`, which takes dense, sparse and listed edges, sparse features,
        and graphs of any size. An encoder gives `attn_heads * channels[-1]` features a node.

    Raises:
        ValueError: if `channels` is empty and `classes` is `None`, or a number is out of range.

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
                activation=None if is_logits else activation,
                kernel_initializer=keras.initializers.GlorotUniform(offset),
                kernel_regularizer=kernel_regularizer,
                bias_regularizer=bias_regularizer,
            )
        )
    return GraphSequential(layers, name=name)
