"""BERT: a transformer whose tokens see those before and behind them."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers import LearnedPositionalEmbedding, SegmentEmbedding
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.transformer._gelu import get_activation, serialize_activation
from keras_ssl.layers.transformer.blocks import make_norm, normalize
from keras_ssl.networks.text._blocks import checked_sizes, make_block, named_size, run_blocks
from keras_ssl.networks.text._inputs import positions_in_documents
from keras_ssl.networks.text.text_encoder import TextEncoder, pool

# width, number of blocks, number of heads
_SIZES = {
    "tiny": (128, 2, 2),
    "mini": (256, 4, 4),
    "small": (512, 4, 8),
    "medium": (512, 8, 8),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}
_POOLINGS = ("class", "mean", None)


@keras.saving.register_keras_serializable(package="keras_ssl")
class BERT(TextEncoder):
    r"""Encoder of sentences and pairs of them, in which all tokens see each other; `networks.bert`.

    The sum of the embeddings of token, position and segment is normalized, and goes through blocks
    that normalize behind their residual connections.

    Args:
        vocabulary_size: number of token ids.
        width: number of features of a token.
        depth: number of blocks.
        num_heads: number of heads of the attention, a divisor of `width`.
        hidden_dim: width of the hidden layer of the blocks' feed-forward networks; four times
            `width` by default.
        max_length: number of learned positions, the most tokens of a sequence.
        segments: number of segments that tokens can be of.
        pooling: `"class"` for the first token as features, `"mean"` for the mean of all tokens that
            are no padding, or `None` for all tokens, `(batch, length, width)`.
        pooler: whether the first token goes through a dense layer with a hyperbolic tangent before
            it is a feature, as in BERT, whose next-sentence prediction trains that layer. With
            `pooling="mean"` there is none.
        activation: activation function of the feed-forward networks, as of `layers.FeedForward`.
        epsilon: small number added to variances.
        dropout_rate: dropout rate of the embeddings and the outputs of attention and feed-forward
            networks.
        attention_dropout_rate: dropout rate of the attention's scores.
        remat: whether each block is computed again in the backward pass instead of being kept, as
            of `layers.TransformerEncoderBlock`.
        seed: integer seed of dropout and of the initial weights.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: token ids, or a dictionary of them and others, as of `networks.TextEncoder`.
        return_intermediates: whether to return all that `encode` returns, in a dictionary.
        training: whether to apply dropout.

    Input shape:
        Integers `(batch, length)`.

    Output shape:
        `(batch, width)`, or `(batch, length, width)` with `pooling=None`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if an argument is out of range, or inputs do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.BERT(1000, width=32, depth=2, num_heads=4, max_length=16)
    >>> token_ids = np.array([[2, 17, 9, 3, 21, 3], [2, 40, 3, 0, 0, 0]])
    >>> inputs = {"token_ids": token_ids, "padding_mask": token_ids != 0}
    >>> encoder(inputs).shape
    TensorShape([2, 32])
    >>> outputs = encoder(inputs, return_intermediates=True)
    >>> outputs["tokens"].shape, len(outputs["blocks"])
    (TensorShape([2, 6, 32]), 2)

    Reference:
        - [Devlin et al., BERT: Pre-training of Deep Bidirectional
          Transformers](https://arxiv.org/abs/1810.04805)
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int,
        num_heads: int,
        *,
        hidden_dim: int | None = None,
        max_length: int = 512,
        segments: int = 2,
        pooling: str | None = "class",
        pooler: bool = True,
        activation: Any = "gelu",
        epsilon: float = 1e-12,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.1,
        remat: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if pooling not in _POOLINGS:
            raise ValueError(
                f"`pooling` must be one of {list(_POOLINGS)}. Received: pooling={pooling!r}"
            )
        sizes = checked_sizes(vocabulary_size, width, depth, num_heads, hidden_dim)
        self._arguments = {
            **sizes,
            "max_length": checks.integer("max_length", max_length, minimum=1),
            "segments": checks.integer("segments", segments, minimum=1),
            "pooling": pooling,
            "pooler": bool(pooler),
            "activation": serialize_activation(get_activation(activation)),
            "epsilon": epsilon,
            "dropout_rate": dropout_rate,
            "attention_dropout_rate": attention_dropout_rate,
            "remat": bool(remat),
            "seed": checks.integer("seed", seed, optional=True),
        }
        self.vocabulary_size, self.width = sizes["vocabulary_size"], sizes["width"]
        self.max_length, self.segments = max_length, segments
        self.pooling = pooling
        like = {"dtype": self.dtype_policy}
        small = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)
        self.token_embedding = keras.layers.ReversibleEmbedding(
            vocabulary_size,
            width,
            embeddings_initializer=initializer_copy(small, 1),
            reverse_dtype=self.compute_dtype,
            name="token_embedding",
            **like,
        )
        self.position_embedding = LearnedPositionalEmbedding(
            max_length, initializer=initializer_copy(small, 2), name="position_embedding", **like
        )
        self.segment_embedding = SegmentEmbedding(
            segments, initializer_copy(small, 3), name="segment_embedding", **like
        )
        self.embedding_norm = make_norm("layer", epsilon=epsilon, name="embedding_norm", **like)
        self.embedding_dropout = keras.layers.Dropout(dropout_rate, seed=seed, **like)
        self.blocks = [
            make_block(
                number,
                num_heads=num_heads,
                hidden_dim=hidden_dim or 4 * width,
                activation=activation,
                norm_first=False,
                epsilon=epsilon,
                dropout_rate=dropout_rate,
                attention_dropout_rate=attention_dropout_rate,
                kernel_initializer=small,
                remat=remat,
                seed=seed,
                name=f"block_{number + 1}",
                **like,
            )
            for number in range(depth)
        ]
        self.pooler = None
        if pooler and pooling != "mean":
            self.pooler = keras.layers.Dense(
                width, "tanh", kernel_initializer=initializer_copy(small, 4), name="pooler", **like
            )
        self.build((None, None))

    def build(self, input_shape: tuple) -> None:
        tokens = (None, None, self.width)
        self.token_embedding.build((None, None))
        parts = (self.position_embedding, self.segment_embedding, self.embedding_norm)
        for layer in (*parts, *self.blocks, self.pooler):
            if layer is not None and not layer.built:
                layer.build(tokens)
        self.built = True

    def encode(
        self, inputs: Any, return_attention_scores: bool = False, training: bool | None = None
    ) -> dict[str, Any]:
        """Return the features of tokens and sequences, and the tokens after each block.

        Args:
            inputs: as `call` takes them.
            return_attention_scores: whether to return the scores of each block.
            training: whether to apply dropout.

        Returns:
            Dictionary of

            - `"features"`: as `call` returns them.
            - `"tokens"`: the outputs of the last block, `(batch, length, width)`.
            - `"pooled"`: `(batch, width)`, the features with `pooling="mean"`, or otherwise the
              first token, behind the pooler if there is one.
            - `"blocks"`: list of all tokens after each block.
            - `"attention_scores"`: list of the scores of each block, `(batch, num_heads, length,
              length)`, if asked for.
        """
        given = self.read(inputs)
        x = self.token_embedding(given.token_ids)
        positions = None
        if given.document_ids is not None:
            positions = positions_in_documents(given.document_ids)
        x = self.position_embedding(x, positions=positions)
        x = self.segment_embedding(x, segment_ids=given.segment_ids)
        x = normalize(self.embedding_norm, x, training)
        x = self.embedding_dropout(x, training=training)
        outputs = run_blocks(self.blocks, x, given, return_attention_scores, training)
        tokens = outputs["tokens"] = outputs["blocks"][-1]
        pooled = pool(tokens, given.padding_mask, self.pooling or "class")
        if self.pooler is not None:
            pooled = self.pooler(pooled)
        outputs["pooled"] = pooled
        outputs["features"] = tokens if self.pooling is None else pooled
        return outputs

    def get_config(self) -> dict:
        """Return the constructor's arguments, and where LoRA is enabled."""
        return {**super().get_config(), **self._arguments}


def bert(
    size: str | tuple[int, int, int] = "base", vocabulary_size: int = 30522, **kwargs: Any
) -> BERT:
    """Build a BERT, an encoder of sentences and of pairs of them.

    | Size | Width | Blocks | Heads | Parameters (30,522 tokens) |
    | --- | --- | --- | --- | --- |
    | `"tiny"` | 128 | 2 | 2 | 4.4 M |
    | `"mini"` | 256 | 4 | 4 | 11.2 M |
    | `"small"` | 512 | 4 | 8 | 28.8 M |
    | `"medium"` | 512 | 8 | 8 | 41.4 M |
    | `"base"` | 768 | 12 | 12 | 109.5 M |
    | `"large"` | 1024 | 24 | 16 | 335.1 M |

    Args:
        size: one of the names above, or `(width, blocks, heads)`.
        vocabulary_size: number of token ids.
        **kwargs: other arguments of `networks.BERT`, such as `pooling`.

    Returns:
        `networks.BERT` from `(batch, length)` to `(batch, width)`.

    Raises:
        ValueError: if `size` is unknown, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.bert((32, 2, 4), vocabulary_size=1000, max_length=64, pooling="mean")
    >>> encoder(np.ones((2, 10), "int32")).shape
    TensorShape([2, 32])

    Reference:
        - [Devlin et al., BERT](https://arxiv.org/abs/1810.04805)
        - [Turc et al., Well-Read Students Learn Better](https://arxiv.org/abs/1908.08962), the
          smaller sizes
    """
    width, depth, heads = named_size(size, _SIZES)
    return BERT(vocabulary_size, width, depth, heads, **kwargs)
