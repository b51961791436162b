"""Graph attention layers."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.layers.graph.conv.sparse_dropout import SparseDropout
from keras_ssl.layers.graph.graph_layer import shapes_of_inputs
from keras_ssl.ops.graph.edges import Edges, connect
from keras_ssl.ops.graph.sparse import multiply_features


class AttentionConv(GraphConv):
    """Base of layers in which a node weighs its neighbours by what they hold.

    Subclasses make the weights of a score (`build_score`) and compute it (`score`).

    Args:
        channels: number of features of each head.
        attn_heads: number of heads.
        concat_heads: whether the outputs of heads are put side by side, or averaged.
        dropout_rate: share of the attention coefficients that are dropped in training.
        input_dropout_rate: share of the features that are dropped before they are projected, for
            each head anew.
        feature_dropout_rate: share of the projected features that are dropped before they are
            sent.
        add_self_loops: whether nodes that have no edge to themselves get one.
        negative_slope: slope of the leaky ReLU below 0.
        seed: integer seed of the dropout.
        **kwargs: of `GraphConv`.

    Raises:
        ValueError: if `attn_heads` is not a positive integer or `dropout_rate` not in [0, 1].
    """

    aggregations = ("sum",)
    takes_sparse_features = True

    def __init__(
        self,
        channels: int,
        attn_heads: int = 1,
        concat_heads: bool = True,
        dropout_rate: float = 0.0,
        input_dropout_rate: float = 0.0,
        feature_dropout_rate: float = 0.0,
        add_self_loops: bool = True,
        negative_slope: float = 0.2,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(channels, **kwargs)
        self.attn_heads = checks.integer("attn_heads", attn_heads, minimum=1)
        self.concat_heads = bool(concat_heads)
        self.dropout_rate = dropout_rate
        self.input_dropout_rate = input_dropout_rate
        self.feature_dropout_rate = feature_dropout_rate
        self.add_self_loops = bool(add_self_loops)
        self.negative_slope = float(negative_slope)
        self.seed = seed
        self.dropout = keras.layers.Dropout(
            dropout_rate, seed=seed, dtype=self.dtype_policy, name="dropout"
        )
        self.feature_dropout = keras.layers.Dropout(
            feature_dropout_rate,
            seed=None if seed is None else seed + 1,
            dtype=self.dtype_policy,
            name="feature_dropout",
        )
        self.input_dropout = SparseDropout(
            input_dropout_rate,
            seed=None if seed is None else seed + 2,
            dtype=self.dtype_policy,
            name="input_dropout",
        )

    @property
    def width(self) -> int:
        """Number of features of all heads together."""
        return self.attn_heads * self.channels

    @property
    def output_width(self) -> int:
        """Number of features of the output."""
        return self.width if self.concat_heads else self.channels

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.build_score(features, edge_features)
        self.add_bias(self.output_width)

    def build_score(self, features: int, edge_features: int | None) -> None:
        """Make the weights of what is sent and of its score.

        Args:
            features: number of features of a node.
            edge_features: the same of an edge, or `None`.
        """
        raise NotImplementedError

    def score(self, x: Any, edges: Edges, e: Any, training: bool | None = None) -> tuple[Any, Any]:
        """Return what nodes send, and how much it counts.

        Args:
            x: features of the nodes.
            edges: the edges between them.
            e: features of the edges, or `None`.
            training: whether features are dropped before they are projected.

        Returns:
            What nodes send, `(..., nodes, attn_heads * channels)`, and logits, shaped as messages
            of one feature a head.
        """
        raise NotImplementedError

    def call(
        self, inputs: Any, return_attention_scores: bool = False, training: bool | None = None
    ) -> Any:
        x, a, e = self.split_inputs(inputs)
        edges = connect(x, a)
        if self.add_self_loops:
            edges, e = edges.add_self_loops(e)
        sent, logits = self.score(x, edges, e, training)
        attention = ops.cast(edges.softmax(logits), sent.dtype)
        sent = self.feature_dropout(sent, training=training)
        h = edges.multiply_by_heads(self.dropout(attention, training=training), sent)
        if not self.concat_heads:
            h = ops.mean(self.by_head(h), axis=-2)
        h = self.finish(h)
        return (h, attention) if return_attention_scores else h

    def project(self, x: Any, kernel: Any, training: bool | None) -> Any:
        """Return `x kernel`, each head's part from features of which others were dropped."""
        if not training or not self.input_dropout_rate:
            return multiply_features(x, kernel)
        parts = ops.split(ops.convert_to_tensor(kernel), self.attn_heads, axis=-1)
        projected = [
            multiply_features(self.input_dropout(x, training=True), part) for part in parts
        ]
        return ops.concatenate(projected, axis=-1)

    def by_head(self, h: Any) -> Any:
        """Return features of all heads as `(..., attn_heads, channels)`."""
        return ops.reshape(h, (*ops.shape(h)[:-1], self.attn_heads, self.channels))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*shapes_of_inputs(input_shape)[0][:-1], self.output_width)

    def compute_output_spec(
        self, inputs: Any, return_attention_scores: bool = False, training: bool | None = None
    ) -> Any:
        if return_attention_scores:  # two outputs, of which the shape of the second is its own
            return keras.Operation.compute_output_spec(
                self, inputs, return_attention_scores=True, training=training
            )
        return super().compute_output_spec(inputs, training=training)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "attn_heads": self.attn_heads,
            "concat_heads": self.concat_heads,
            "dropout_rate": self.dropout_rate,
            "input_dropout_rate": self.input_dropout_rate,
            "feature_dropout_rate": self.feature_dropout_rate,
            "add_self_loops": self.add_self_loops,
            "negative_slope": self.negative_slope,
            "seed": self.seed,
        }


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
