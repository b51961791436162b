"""The graph attention layer of Velickovic et al."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.conv._attention_conv import AttentionConv
from keras_ssl.layers.graph.edges import Edges


@keras.saving.register_keras_serializable(package="keras_ssl")
class GATConv(AttentionConv):
    r"""Graph attention: the mean over each node and its neighbours, weighed by learned scores.

    For each head, node i with neighbours j, and i among them:

        h_i' = activation(sum_j α_ij W h_j + b)
        α_ij = softmax over j of LeakyReLU(a_1 · W h_i + a_2 · W h_j)

    A score is the sum of a number of the receiver and one of the sender, so nothing of the
    size of edges times channels is needed for it. Weights of edges say which edges there are (0 is
    none) and do not enter the score; features of edges e_ij, where given, add `a_3 · W_e e_ij`.
    Every node has a self-loop: one that has an edge to itself gets no second one, and an added
    loop has edge features 0.

    Args:
        channels: number of features of each head.
        attn_heads: number of heads.
        concat_heads: whether the outputs of heads are put side by side, or averaged, as in the
            last layer of a classifier.
        dropout_rate: share of the attention coefficients that are dropped in training.
        input_dropout_rate: share of the features of nodes that are dropped before they are
            projected, for each head anew, as in the authors' code.
        feature_dropout_rate: share of the projected features that are dropped before they are
            sent, the same for all who receive them.
        add_self_loops: whether nodes without an edge to themselves get one. Without it, nodes
            without neighbours get the bias.
        negative_slope: slope of the leaky ReLU below 0.
        seed: integer seed of the dropout.
        activation: activation function.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of kernel and attention vectors.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of kernel and attention vectors.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of kernel and attention vectors.
        bias_constraint: constraint of the bias.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` where edges have features. `x` may be sparse. `a` as in
            `layers.graph.MessagePassing`.
        return_attention_scores: whether to return `(output, scores)`. Scores are the coefficients
            α before dropout: `(..., nodes, nodes, attn_heads)`, receiver by sender, of a dense
            adjacency; otherwise `(..., edges, attn_heads)`, first those of the edges in their
            order, then those of added loops, one a node (0 where the node had its own).
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
    >>> from keras_ssl.layers.graph import GATConv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> layer = GATConv(8, attn_heads=4, activation="elu")
    >>> h, attention = layer([np.ones((3, 2)), a], return_attention_scores=True)
    >>> h.shape, attention.shape
    (TensorShape([3, 32]), TensorShape([3, 3, 4]))

    Reference:

    - [Velickovic et al., 2018](https://arxiv.org/abs/1710.10903)
    """

    def build_score(self, features: int, edge_features: int | None) -> None:
        self.kernel = self.add_kernel((features, self.width))
        vector = (self.attn_heads, self.channels)
        self.attention_sender = self.add_kernel(vector, "attention_sender")
        self.attention_receiver = self.add_kernel(vector, "attention_receiver")
        if edge_features is not None:
            self.edge_kernel = self.add_kernel((edge_features, self.width), "edge_kernel")
            self.attention_edge = self.add_kernel(vector, "attention_edge")

    def score(self, x: Any, edges: Edges, e: Any, training: bool | None = None) -> tuple[Any, Any]:
        h = self.project(x, self.kernel, training)
        heads = self.by_head(h)
        senders = ops.sum(heads * self.attention_sender, axis=-1)
        receivers = ops.sum(heads * self.attention_receiver, axis=-1)
        logits = edges.from_senders(senders) + edges.from_receivers(receivers)
        if e is not None:
            # first the product of the weights, which is small
            kernel = ops.sum(self.by_head(self.edge_kernel) * self.attention_edge, axis=-1)
            logits = logits + ops.matmul(ops.cast(e, h.dtype), kernel)
        return h, ops.leaky_relu(logits, self.negative_slope)
