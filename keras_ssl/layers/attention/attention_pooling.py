"""Pooling of tokens by attention with a learned query."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.attention.multi_head_attention import MultiHeadAttention


@keras.saving.register_keras_serializable(package="keras_ssl")
class AttentionPooling(keras.layers.Layer):
    """Attention pooling: one vector per example, from its tokens, by a learned query.

    Args:
        num_heads: number of heads of the attention.
        initializer: initializer of the query.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.
        mask: booleans `(batch, tokens)`, `False` for padding, which is not attended to.
        return_attention_scores: whether to return the scores after the vector.

    Input shape:
        `(batch, tokens, width)`.

    Output shape:
        `(batch, width)`; the scores are `(batch, num_heads, tokens)`.

    Raises:
        ValueError: if `num_heads` is not positive or no divisor of the width, or the input does not
            have rank 3.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.AttentionPooling(num_heads=4)(np.ones((2, 64, 96), "float32")).shape
    TensorShape([2, 96])

    Reference:
        - [Lee et al., Set Transformer](https://arxiv.org/abs/1810.00825)
        - [Zhai et al., Scaling Vision Transformers](https://arxiv.org/abs/2106.04560)
    """

    def __init__(self, num_heads: int, initializer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads = checks.integer("num_heads", num_heads, minimum=1)
        if initializer is None:
            initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.initializer = keras.initializers.get(initializer)
        self.attention = MultiHeadAttention(num_heads, dtype=self.dtype_policy, name="attention")

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 3:
            raise ValueError(
                "`inputs` must be tokens of shape (batch, tokens, width). Received: shape "
                f"{tuple(input_shape)}"
            )
        width = input_shape[-1]
        self.query = self.add_weight(name="query", shape=(1, width), initializer=self.initializer)
        self.attention.build((input_shape[0], 1, width), tuple(input_shape))

    def call(self, inputs: Any, mask: Any = None, return_attention_scores: bool = False) -> Any:
        shape = (ops.shape(inputs)[0], 1, inputs.shape[-1])
        query = ops.broadcast_to(ops.cast(self.query, inputs.dtype)[None], shape)
        outputs = self.attention(
            query, inputs, value_mask=mask, return_attention_scores=return_attention_scores
        )
        if return_attention_scores:
            return outputs[0][:, 0], outputs[1][:, :, 0]
        return outputs[:, 0]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], input_shape[-1])

    def compute_output_spec(
        self, inputs: Any, mask: Any = None, return_attention_scores: bool = False
    ) -> Any:
        if return_attention_scores:  # `compute_output_shape` knows one output only
            return keras.Operation.compute_output_spec(
                self, inputs, mask=mask, return_attention_scores=True
            )
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: there is one vector per example."""
        return

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "initializer": keras.initializers.serialize(self.initializer),
        }
