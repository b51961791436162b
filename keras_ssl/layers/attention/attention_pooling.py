"""Pooling of tokens by attention: with a learned query, or by scores of a small network."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy
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


@keras.saving.register_keras_serializable(package="keras_ssl")
class AdditiveAttentionPooling(keras.layers.Layer):
    """Additive attention pooling: the mean of an example's tokens, weighted by a small network.

    A token h gets the score v · tanh(h W + b). The weights are the softmax of the scores over the
    tokens that are not padding. Where all are padding, the weights and the vector are 0.

    Args:
        units: width of W, of the hidden layer.
        initializer: initializer of W and v.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.
        mask: booleans `(batch, tokens)`, `False` for padding, which has the weight 0.
        return_attention_scores: whether to return the weights after the vector.

    Input shape:
        `(batch, tokens, width)`.

    Output shape:
        `(batch, width)`; the weights are `(batch, tokens)`, with a sum of 1, or of 0 where all
        tokens are padding.

    Raises:
        ValueError: if `units` is below 1, or the input does not have rank 3.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.AdditiveAttentionPooling(16)(np.ones((2, 10, 32), "float32")).shape
    TensorShape([2, 32])

    Reference:
        - [Bahdanau et al., Neural Machine Translation by Jointly Learning to Align and
          Translate](https://arxiv.org/abs/1409.0473)
        - Zhou et al., Attention-Based Bidirectional Long Short-Term Memory Networks for Relation
          Classification, ACL 2016
    """

    def __init__(self, units: int, initializer: Any = "glorot_uniform", **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = checks.integer("units", units, minimum=1)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 3:
            raise ValueError(
                "`inputs` must be tokens of shape (batch, tokens, width). Received: shape "
                f"{tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.units), initializer=self.initializer
        )
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        self.scorer = self.add_weight(
            name="scorer", shape=(self.units, 1), initializer=initializer_copy(self.initializer, 2)
        )

    def call(self, inputs: Any, mask: Any = None, return_attention_scores: bool = False) -> Any:
        hidden = ops.tanh(ops.matmul(inputs, self.kernel) + self.bias)
        scores = ops.cast(ops.matmul(hidden, self.scorer)[..., 0], "float32")
        if mask is not None:
            mask = ops.cast(mask, "bool")
            # all tokens of an example may be padding, so that this is no infinity
            scores = ops.where(mask, scores, -1e30)
        weights = ops.softmax(scores, axis=-1)
        if mask is not None:
            weights = ops.where(mask, weights, 0.0)  # else they are equal where all is padding
        weights = ops.cast(weights, inputs.dtype)
        pooled = ops.matmul(weights[:, None], inputs)[:, 0]
        return (pooled, weights) if return_attention_scores else pooled

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], input_shape[-1])

    def compute_output_spec(
        self, inputs: Any, mask: Any = None, return_attention_scores: bool = False
    ) -> Any:
        pooled = keras.KerasTensor(self.compute_output_shape(inputs.shape), self.compute_dtype)
        if not return_attention_scores:
            return pooled
        return pooled, keras.KerasTensor(inputs.shape[:2], self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: there is one vector per example."""
        return

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "initializer": keras.initializers.serialize(self.initializer),
        }
