"""The graph attention layer of Brody et al."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.conv._attention_conv import AttentionConv
from keras_ssl.layers.graph.edges import Edges


@keras.saving.register_keras_serializable(package="keras_ssl")
class GATv2Conv(AttentionConv):
    r"""Graph attention in which each node has a ranking of its own: version 2 of `GATConv`.

    For each head, node i with neighbours j, and i among them:

        h_i' = activation(sum_j α_ij W_s h_j + b)
        α_ij = softmax over j of a · LeakyReLU(W_r h_i + W_s h_j)

    In version 1 the order in which neighbours count is the same for all nodes; here it depends on
    the node. The price: a vector of `attn_heads * channels` numbers for each edge. Weights of edges
    say which edges there are (0 is none); features of edges e_ij, where given, add `W_e e_ij`
    within the leaky ReLU. Self-loops are those of `GATConv`.

    Args:
        channels: number of features of each head.
        attn_heads: number of heads.
        concat_heads: whether the outputs of heads are put side by side, or averaged.
        dropout_rate: share of the attention coefficients that are dropped in training.
        input_dropout_rate: share of the features of nodes that are dropped before they are
            projected, for each head and projection anew.
        feature_dropout_rate: share of the projected features that are dropped before they are
            sent, the same for all who receive them.
        add_self_loops: whether nodes without an edge to themselves get one.
        negative_slope: slope of the leaky ReLU below 0.
        seed: integer seed of the dropout.
        share_weights: whether W_r is W_s.
        activation: activation function.
        use_bias: whether to add a bias to the output and to the projections of nodes.
        kernel_initializer: initializer of kernels and attention vectors.
        bias_initializer: initializer of the biases.
        kernel_regularizer: regularizer of kernels and attention vectors.
        bias_regularizer: regularizer of the output's bias.
        kernel_constraint: constraint of kernels and attention vectors.
        bias_constraint: constraint of the output's bias.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` where edges have features. `x` may be sparse. `a` as in
            `layers.graph.MessagePassing`.
        return_attention_scores: whether to return `(output, scores)`, as `GATConv`.
        training: whether coefficients are dropped.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` is `(nodes, nodes)` or
        `(batch, nodes, nodes)`, or an edge list.

    Output shape:
        `(..., nodes, attn_heads * channels)`, or `(..., nodes, channels)` of averaged heads.

    Raises:
        ValueError: if `channels` or `attn_heads` is not a positive integer, a rate of dropout not
            in [0, 1], or shapes do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import GATv2Conv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> GATv2Conv(8, attn_heads=4, concat_heads=False)([np.ones((3, 2)), a]).shape
    TensorShape([3, 8])

    Reference:

    - [Brody et al., 2022](https://arxiv.org/abs/2105.14491)
    """

    def __init__(
        self, channels: int, attn_heads: int = 1, *, share_weights: bool = False, **kwargs: Any
    ):
        super().__init__(channels, attn_heads, **kwargs)
        self.share_weights = bool(share_weights)

    def build_score(self, features: int, edge_features: int | None) -> None:
        self.sender_kernel = self.add_kernel((features, self.width), "sender_kernel")
        self.sender_bias = self._add_projection_bias("sender_bias")
        if not self.share_weights:
            self.receiver_kernel = self.add_kernel((features, self.width), "receiver_kernel")
            self.receiver_bias = self._add_projection_bias("receiver_bias")
        self.attention = self.add_kernel((self.attn_heads, self.channels), "attention")
        if edge_features is not None:
            self.edge_kernel = self.add_kernel((edge_features, self.width), "edge_kernel")

    def _add_projection_bias(self, name: str) -> keras.Variable | None:
        if not self.use_bias:
            return None
        return self.add_weight(shape=(self.width,), initializer=self.bias_initializer, name=name)

    def score(self, x: Any, edges: Edges, e: Any, training: bool | None = None) -> tuple[Any, Any]:
        sent = received = self._project(x, self.sender_kernel, self.sender_bias, training)
        if not self.share_weights:
            received = self._project(x, self.receiver_kernel, self.receiver_bias, training)
        pairs = edges.from_senders(sent) + edges.from_receivers(received)
        if e is not None:
            pairs = pairs + ops.matmul(ops.cast(e, pairs.dtype), self.edge_kernel)
        pairs = self.by_head(ops.leaky_relu(pairs, self.negative_slope))
        return sent, ops.sum(pairs * self.attention, axis=-1)

    def _project(self, x: Any, kernel: Any, bias: Any, training: bool | None) -> Any:
        h = self.project(x, kernel, training)
        return h if bias is None else h + bias

    def get_config(self) -> dict:
        return {**super().get_config(), "share_weights": self.share_weights}
