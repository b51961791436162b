"""Block of a transformer whose tokens see a context and not each other."""

from typing import Any

import keras

from keras_ssl.layers.attention import MultiHeadAttention
from keras_ssl.layers.transformer.blocks import make_norm, normalize
from keras_ssl.layers.transformer.feed_forward import FeedForward


class CrossBlock(keras.layers.Layer):
    """Attention of queries to a normalised context, and a feed-forward network, both norm first."""

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        hidden_dim: int,
        activation: Any,
        epsilon: float,
        dropout_rate: float,
        attention_dropout_rate: float,
        query_residual: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.query_residual = query_residual
        like = {"dtype": self.dtype_policy}
        seeds = [None if seed is None else seed + number for number in range(4)]
        self.norm = make_norm("layer", epsilon=epsilon, name="norm", **like)
        self.attention = MultiHeadAttention(
            num_heads,
            key_dim,
            dropout_rate=attention_dropout_rate,
            seed=seeds[0],
            name="attention",
            **like,
        )
        self.feed_forward_norm = make_norm(
            "layer", epsilon=epsilon, name="feed_forward_norm", **like
        )
        self.feed_forward = FeedForward(
            hidden_dim,
            activation,
            dropout_rate=dropout_rate,
            seed=seeds[1],
            name="feed_forward",
            **like,
        )
        self.dropouts = [
            keras.layers.Dropout(dropout_rate, seed=seed, **like) for seed in seeds[2:]
        ]

    def build(self, queries_shape: tuple, context_shape: tuple) -> None:
        self.attention.build(queries_shape, context_shape)
        for layer in (self.norm, self.feed_forward_norm, self.feed_forward):
            layer.build(queries_shape)

    def call(
        self, queries: Any, context: Any, padding_mask: Any = None, training: bool | None = None
    ) -> Any:
        outputs = self.attention(
            normalize(self.norm, queries, training),
            context,
            value_mask=padding_mask,
            training=training,
        )
        x = self.dropouts[0](outputs, training=training)
        x = queries + x if self.query_residual else x
        entered = normalize(self.feed_forward_norm, x, training)
        outputs = self.feed_forward(entered, training=training)
        return x + self.dropouts[1](outputs, training=training)

    def compute_output_shape(self, queries_shape: tuple, context_shape: tuple) -> tuple:
        return tuple(queries_shape)
