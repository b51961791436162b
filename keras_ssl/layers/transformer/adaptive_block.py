"""The block of diffusion transformers, whose normalization depends on a condition."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.attention import MultiHeadAttention
from keras_ssl.layers.normalization._layer_normalization import LayerNormalization
from keras_ssl.layers.transformer._recompute import recompute
from keras_ssl.layers.transformer.feed_forward import FeedForward


@keras.saving.register_keras_serializable(package="keras_ssl")
class AdaptiveTransformerBlock(keras.layers.Layer):
    r"""Transformer block with adaptive layer normalization that starts as the identity.

    A linear map of the condition c, which starts as zero, gives a shift b, a scale s and a gate g
    for the attention and for the feed-forward network (adaLN-zero):

        x ← x + g_1 Attention(LayerNorm(x) (1 + s_1) + b_1)
        x ← x + g_2 FeedForward(LayerNorm(x) (1 + s_2) + b_2)

    where LayerNorm has no weights. With `cross_attention=True`, tokens attend to a context between
    the two, `x ← x + Attention(x, context)`, by an attention whose output starts as zero.

    Args:
        num_heads: number of heads of the attention.
        hidden_dim: width of the hidden layer of the feed-forward network.
        cross_attention: whether tokens attend to a context too.
        activation: activation function of the feed-forward network.
        epsilon: small number added to variances.
        dropout_rate: dropout rate of the hidden layer of the feed-forward network.
        remat: whether to compute the block again in the backward pass instead of keeping what lies
            between its parts.
        seed: integer seed of dropout.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.
        condition: what the normalization depends on, such as the sum of the embeddings of time and
            class, activated.
        context: what tokens attend to, with `cross_attention=True`.
        context_mask: booleans `(batch, positions)`, `False` for padding.
        training: whether to apply dropout.

    Input shape:
        `(batch, tokens, width)`, the condition `(batch, features)`, and the context
        `(batch, positions, context width)`.

    Output shape:
        That of the tokens.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is out of range, or context and `cross_attention` do not agree.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> block = layers.AdaptiveTransformerBlock(num_heads=4, hidden_dim=64)
    >>> x, condition = np.ones((2, 10, 16), "float32"), np.ones((2, 8), "float32")
    >>> bool(np.all(block(x, condition) == x))  # at the start
    True

    Reference:
        - [Peebles and Xie, Scalable Diffusion Models with
          Transformers](https://arxiv.org/abs/2212.09748)
        - [Chen et al., PixArt-alpha](https://arxiv.org/abs/2310.00426) for cross-attention
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        *,
        cross_attention: bool = False,
        activation: Any = "gelu",
        epsilon: float = 1e-6,
        dropout_rate: float = 0.0,
        remat: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_heads = checks.integer("num_heads", num_heads, minimum=1)
        self.hidden_dim = checks.integer("hidden_dim", hidden_dim, minimum=1)
        self.activation = keras.activations.get(activation)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.dropout_rate = checks.below_one("dropout_rate", dropout_rate)
        self.remat = bool(remat)
        self.seed = checks.integer("seed", seed, optional=True)
        like = {"dtype": self.dtype_policy}
        self.modulation = None
        self.norms = [
            LayerNormalization(epsilon=epsilon, center=False, scale=False, name=f"norm_{n}", **like)
            for n in (1, 2)
        ]
        self.attention = MultiHeadAttention(self.num_heads, name="attention", **like)
        self.cross_attention = None
        if cross_attention:
            self.cross_attention = MultiHeadAttention(
                self.num_heads, output_initializer="zeros", name="cross_attention", **like
            )
        self.feed_forward = FeedForward(
            self.hidden_dim,
            self.activation,
            dropout_rate=dropout_rate,
            seed=self.seed,
            name="feed_forward",
            **like,
        )

    def build(
        self,
        inputs_shape: tuple,
        condition_shape: tuple,
        context_shape: tuple | None = None,
        context_mask_shape: tuple | None = None,
    ) -> None:
        self._check_context(context_shape)
        self.modulation = keras.layers.Dense(
            6 * inputs_shape[-1],
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="modulation",
        )
        self.modulation.build(condition_shape)
        for part in (*self.norms, self.attention, self.feed_forward):
            part.build(inputs_shape)
        if self.cross_attention is not None:
            self.cross_attention.build(inputs_shape, context_shape)

    def call(
        self,
        inputs: Any,
        condition: Any,
        context: Any = None,
        context_mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        self._check_context(context)

        def compute(x: Any, condition: Any, *context: Any) -> list[Any]:
            modulation = self.modulation(condition)[:, None]
            shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = ops.split(modulation, 6, axis=-1)
            h = self.norms[0](x, training=training) * (1 + scale_1) + shift_1
            x = x + gate_1 * self.attention(h, training=training)
            if context:
                x = x + self.cross_attention(
                    x, *context, value_mask=context_mask, training=training
                )
            h = self.norms[1](x, training=training) * (1 + scale_2) + shift_2
            return [x + gate_2 * self.feed_forward(h, training=training)]

        tensors = [inputs, condition] + ([] if context is None else [context])
        if self.remat and training:
            return recompute(self, compute, tensors)[0]
        return compute(*tensors)[0]

    def _check_context(self, context: Any) -> None:
        """Raise a `ValueError` unless there is a context exactly with cross-attention."""
        if (context is None) != (self.cross_attention is None):
            raise ValueError(
                "`context` is for a block with `cross_attention=True`, which needs one. Received: "
                f"{'no ' if context is None else ''}`context` with "
                f"cross_attention={self.cross_attention is not None}"
            )

    def compute_output_shape(
        self,
        inputs_shape: tuple,
        condition_shape: tuple,
        context_shape: tuple | None = None,
        context_mask_shape: tuple | None = None,
    ) -> tuple:
        return tuple(inputs_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "cross_attention": self.cross_attention is not None,
            "activation": keras.activations.serialize(self.activation),
            "epsilon": self.epsilon,
            "dropout_rate": self.dropout_rate,
            "remat": self.remat,
            "seed": self.seed,
        }
