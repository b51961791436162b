"""Graph attention layers."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.layers.graph.graph_layer import shapes_of_inputs
from keras_ssl.layers.graph.sparse_dropout import SparseDropout
from keras_ssl.ops.graph.edges import Edges, connect, source_nodes, target_nodes
from keras_ssl.ops.graph.sparse import multiply_features


class _AttentionConv(GraphConv):
    """Base of graph attention: heads, softmax over neighbors, dropout of coefficients.

    Subclasses create the weights of the score in `build_score` and compute it in `score`.
    """

    aggregations = ("sum",)
    takes_sparse_features = True
    takes_bipartite = True

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
        activation: Any = None,
        use_bias: bool = True,
        attn_kernel_initializer: Any = None,
        attn_kernel_regularizer: Any = None,
        attn_kernel_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        # `get` returns `None` unchanged
        self.attn_kernel_initializer = keras.initializers.get(attn_kernel_initializer)
        self.attn_kernel_regularizer = keras.regularizers.get(attn_kernel_regularizer)
        self.attn_kernel_constraint = keras.constraints.get(attn_kernel_constraint)
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

    def build_nodes(self, features: Any, edge_features: int | None = None) -> None:
        if self.is_bipartite and self.add_self_loops:
            raise ValueError(
                "Sources and targets are different nodes, so a bipartite graph has no self-loops: "
                f"use `{type(self).__name__}(..., add_self_loops=False)`. Received: "
                "add_self_loops=True and inputs [[x_source, x_target], a]"
            )
        self.build_score(features, edge_features)
        self.add_bias(self.output_width)

    def build_score(self, features: Any, edge_features: int | None) -> None:
        """Create the weights of the projection and of the score, for one number or a pair."""
        raise NotImplementedError

    def add_attention(self, name: str) -> keras.Variable:
        """Create a vector of the score for each head."""
        return self.add_weight(
            shape=(self.attn_heads, self.channels),
            initializer=self._next_initializer(self.attn_kernel_initializer),
            regularizer=self.attn_kernel_regularizer,
            constraint=self.attn_kernel_constraint,
            name=name,
        )

    def score(self, x: Any, edges: Edges, e: Any, training: bool | None = None) -> tuple[Any, Any]:
        """Return projected features and attention logits.

        The features that nodes send are `(..., nodes, attn_heads * channels)`, the logits are
        shaped like messages with one feature per head.
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
        """Return `x kernel`, with separate input dropout for each head in training."""
        if not training or not self.input_dropout_rate:
            return multiply_features(x, kernel)
        parts = ops.split(ops.convert_to_tensor(kernel), self.attn_heads, axis=-1)
        projected = [
            multiply_features(self.input_dropout(x, training=True), part) for part in parts
        ]
        return ops.concatenate(projected, axis=-1)

    def by_head(self, h: Any) -> Any:
        """Reshape features of all heads to `(..., attn_heads, channels)`."""
        return ops.reshape(h, (*ops.shape(h)[:-1], self.attn_heads, self.channels))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*target_nodes(shapes_of_inputs(input_shape)[0])[:-1], self.output_width)

    def compute_output_spec(
        self, inputs: Any, return_attention_scores: bool = False, training: bool | None = None
    ) -> Any:
        if return_attention_scores:  # `compute_output_shape` knows one output only
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
            "attn_kernel_initializer": self.attn_kernel_initializer
            and keras.initializers.serialize(self.attn_kernel_initializer),
            "attn_kernel_regularizer": keras.regularizers.serialize(self.attn_kernel_regularizer),
            "attn_kernel_constraint": keras.constraints.serialize(self.attn_kernel_constraint),
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class GATConv(_AttentionConv):
    r"""Graph attention: a weighted mean over each node and its neighbors, with learned weights.

    For each head, and node i with neighbors j, itself included:

        h_i' = activation(sum_j α_ij W h_j + b)
        α_ij = softmax over j of LeakyReLU(a_1 · W h_i + a_2 · W h_j)

    The score is a sum of one number of the receiver and one of the sender, so memory does not grow
    with edges times channels. Edge weights are not used, except that 0 means no edge. Edge features
    e_ij add `a_3 · W_e e_ij` to the score. Nodes that have no self-loop get one, with edge features
    of 0.

    Args:
        channels: number of features of each head.
        attn_heads: number of heads.
        concat_heads: whether to concatenate the heads, or to average them, as in the last layer of
            a classifier.
        dropout_rate: dropout rate of the attention coefficients.
        input_dropout_rate: dropout rate of the node features before the projection, drawn for each
            head separately, as in the authors' code.
        feature_dropout_rate: dropout rate of the projected features, with one mask for all
            receivers.
        add_self_loops: whether nodes without a self-loop get one. Otherwise, nodes without
            neighbors get the bias.
        negative_slope: slope of the leaky ReLU below 0.
        seed: integer seed of the dropout.
        activation: activation function.
        use_bias: whether to add a bias.
        attn_kernel_initializer: initializer of the attention vectors; `None` for that of kernels.
        attn_kernel_regularizer: regularizer of the attention vectors, which `kernel_regularizer`
            does not include.
        attn_kernel_constraint: constraint of the attention vectors.
        **kwargs: initializers, regularizers and constraints of kernel and bias, as in
            `keras.layers.Dense`; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` with edge features. `x` may be sparse, or the pair
            `[x_source, x_target]` of a bipartite graph, which needs `add_self_loops=False` and
            gets another kernel for targets. `a` as in `layers.graph.MessagePassing`.
        return_attention_scores: whether to return `(output, scores)`. Scores are the coefficients
            α before dropout: `(..., nodes, nodes, attn_heads)`, receiver by sender, for a dense
            adjacency; otherwise `(..., edges, attn_heads)`, where the added self-loops follow the
            edges, one per node (0 if the node already had one).
        training: whether to apply dropout.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(..., nodes, attn_heads * channels)`, or `(..., nodes, channels)` for averaged heads.

    Raises:
        ValueError: if `channels` or `attn_heads` is not positive, a dropout rate is outside [0, 1],
            or shapes do not match.
        TypeError: if `channels` or `attn_heads` is not an integer.

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

    def build_score(self, features: Any, edge_features: int | None) -> None:
        sources, targets = features if self.is_bipartite else (features, None)
        self.kernel = self.add_kernel((sources, self.width))
        if self.is_bipartite:
            self.target_kernel = self.add_kernel((targets, self.width), "target_kernel")
        self.attention_sender = self.add_attention("attention_sender")
        self.attention_receiver = self.add_attention("attention_receiver")
        if edge_features is not None:
            self.edge_kernel = self.add_kernel((edge_features, self.width), "edge_kernel")
            self.attention_edge = self.add_attention("attention_edge")

    def score(self, x: Any, edges: Edges, e: Any, training: bool | None = None) -> tuple[Any, Any]:
        h = target = self.project(source_nodes(x), self.kernel, training)
        if self.is_bipartite:
            target = self.project(target_nodes(x), self.target_kernel, training)
        senders = ops.sum(self.by_head(h) * self.attention_sender, axis=-1)
        receivers = ops.sum(self.by_head(target) * self.attention_receiver, axis=-1)
        logits = edges.from_senders(senders) + edges.from_receivers(receivers)
        if e is not None:
            # the small product of the weights comes first
            kernel = ops.sum(self.by_head(self.edge_kernel) * self.attention_edge, axis=-1)
            logits = logits + ops.matmul(ops.cast(e, h.dtype), kernel)
        return h, _leaky_relu(logits, self.negative_slope)


@keras.saving.register_keras_serializable(package="keras_ssl")
class GATv2Conv(_AttentionConv):
    r"""Graph attention in which each node ranks its neighbors by itself: version 2 of `GATConv`.

    For each head, and node i with neighbors j, itself included:

        h_i' = activation(sum_j α_ij W_s h_j + b)
        α_ij = softmax over j of a · LeakyReLU(W_r h_i + W_s h_j)

    In version 1 the ranking of neighbors is the same for all nodes; here it depends on the node.
    This needs a vector of `attn_heads * channels` numbers per edge. Edge weights are not used,
    except that 0 means no edge. Edge features e_ij add `W_e e_ij` inside the leaky ReLU. Self-loops
    are those of `GATConv`.

    Args:
        channels: number of features of each head.
        attn_heads: number of heads.
        share_weights: whether W_r is W_s.
        activation: activation function.
        use_bias: whether to add a bias to the output and to the projections of nodes.
        **kwargs: other arguments of `GATConv`. Regularizer and constraint of the bias apply to the
            output's bias only.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` with edge features. `x` may be sparse, or the pair
            `[x_source, x_target]` of a bipartite graph, which needs `add_self_loops=False`. `a`
            as in `layers.graph.MessagePassing`.
        return_attention_scores: whether to return `(output, scores)`, as `GATConv`.
        training: whether to apply dropout.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(..., nodes, attn_heads * channels)`, or `(..., nodes, channels)` for averaged heads.

    Raises:
        ValueError: as `GATConv`.
        TypeError: as `GATConv`.

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
        self,
        channels: int,
        attn_heads: int = 1,
        *,
        share_weights: bool = False,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, attn_heads, activation=activation, use_bias=use_bias, **kwargs)
        self.share_weights = bool(share_weights)

    def build_score(self, features: Any, edge_features: int | None) -> None:
        sources, targets = features if self.is_bipartite else (features, features)
        if self.share_weights and sources != targets:
            raise ValueError(
                "`share_weights=True` needs as many features of sources as of targets. Received: "
                f"{sources} features of sources, {targets} of targets"
            )
        self.sender_kernel = self.add_kernel((sources, self.width), "sender_kernel")
        self.sender_bias = self._add_projection_bias("sender_bias")
        if not self.share_weights:
            self.receiver_kernel = self.add_kernel((targets, self.width), "receiver_kernel")
            self.receiver_bias = self._add_projection_bias("receiver_bias")
        self.attention = self.add_attention("attention")
        if edge_features is not None:
            self.edge_kernel = self.add_kernel((edge_features, self.width), "edge_kernel")

    def _add_projection_bias(self, name: str) -> keras.Variable | None:
        if not self.use_bias:
            return None
        return self.add_weight(shape=(self.width,), initializer=self.bias_initializer, name=name)

    def score(self, x: Any, edges: Edges, e: Any, training: bool | None = None) -> tuple[Any, Any]:
        sources, targets = source_nodes(x), target_nodes(x)
        sent = received = self._project(sources, self.sender_kernel, self.sender_bias, training)
        if not self.share_weights:
            received = self._project(targets, self.receiver_kernel, self.receiver_bias, training)
        elif self.is_bipartite:
            received = self._project(targets, self.sender_kernel, self.sender_bias, training)
        pairs = edges.from_senders(sent) + edges.from_receivers(received)
        if e is not None:
            pairs = pairs + ops.matmul(ops.cast(e, pairs.dtype), self.edge_kernel)
        pairs = self.by_head(_leaky_relu(pairs, self.negative_slope))
        return sent, ops.sum(pairs * self.attention, axis=-1)

    def _project(self, x: Any, kernel: Any, bias: Any, training: bool | None) -> Any:
        h = self.project(x, kernel, training)
        return h if bias is None else h + bias

    def get_config(self) -> dict:
        return {**super().get_config(), "share_weights": self.share_weights}


def _leaky_relu(x: Any, slope: float) -> Any:
    """Return the leaky ReLU, in float64 as well, where TensorFlow's rounds the slope to float32."""
    if keras.backend.standardize_dtype(x.dtype) != "float64":
        return ops.leaky_relu(x, slope)
    return ops.where(x > 0, x, slope * x)
