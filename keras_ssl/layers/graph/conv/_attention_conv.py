"""What graph attention layers share: heads, softmax over neighbours, dropout of coefficients."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.connect import connect
from keras_ssl.layers.graph.conv._graph_conv import GraphConv, positive_integer
from keras_ssl.layers.graph.conv.sparse_dropout import SparseDropout
from keras_ssl.layers.graph.edges import Edges
from keras_ssl.layers.graph.graph_layer import shapes_of_inputs
from keras_ssl.layers.graph.sparse_product import multiply_features


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
        self.attn_heads = positive_integer("attn_heads", attn_heads)
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
