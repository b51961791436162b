"""The transformer of encoder and decoder, for translation."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers import SinusoidalPositionalEncoding
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.transformer._gelu import get_activation, serialize_activation
from keras_ssl.layers.transformer.blocks import make_norm, normalize
from keras_ssl.networks.text._blocks import checked_sizes, make_block, named_size, run_blocks
from keras_ssl.networks.text._caches import check_cache, make_caches, step
from keras_ssl.networks.text._inputs import read_inputs
from keras_ssl.networks.text._pairs import PAIR_KEYS, PairNetwork
from keras_ssl.networks.text.text_encoder import pool

# width, number of blocks, number of heads
_SIZES = {"base": (512, 6, 8), "big": (1024, 6, 16)}
_POOLINGS = ("class", "mean", "last", None)


@keras.saving.register_keras_serializable(package="keras_ssl")
class Transformer(PairNetwork):
    r"""Encoder of a source and decoder of a target, as for translation; `networks.transformer`.

    Tokens of the source see each other. Tokens of the target see themselves, those before them and
    the whole source. Both are embeddings times the square root of their width, plus sines and
    cosines of their positions, so sequences may have any length. `logits` are products with the
    embeddings of the target's tokens (tied weights).

    It is called on one of two things, and returns features of tokens `(batch, length, width)`:

    - token ids, or a dictionary of `"token_ids"` and `"padding_mask"`: the features of the source;
    - a dictionary of `"encoder_token_ids"` and `"decoder_token_ids"` and, where there is padding,
      `"encoder_padding_mask"` and `"decoder_padding_mask"`: the features of the target's tokens.

    Args:
        vocabulary_size: number of token ids.
        width: number of features of a token, an even number.
        depth: number of blocks of the encoder, and of the decoder.
        num_heads: number of heads of the attention, a divisor of `width`.
        hidden_dim: width of the hidden layer of the blocks' feed-forward networks; four times
            `width` by default.
        source_vocabulary_size: number of token ids of the source, if source and target have not the
            same vocabulary. They then share no embedding.
        pooling: how the features of the source are made: `None` for all tokens, `(batch, length,
            width)`; `"mean"` of all that are no padding; `"class"` for the first token, or `"last"`
            for the last one that is no padding.
        norm_first: whether blocks normalize first, with a last normalization behind them, which is
            easier to train; or behind their residual connections, as in the paper.
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
        inputs: as above.
        return_intermediates: whether to return all that `encode` or `decode` returns.
        training: whether to apply dropout.

    Input shape:
        Integers `(batch, length)`.

    Output shape:
        `(batch, length, width)`; of a source with a `pooling`, `(batch, width)`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if an argument is out of range, or inputs do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> model = networks.Transformer(1000, width=32, depth=2, num_heads=4)
    >>> source, target = np.array([[5, 17, 9, 3]]), np.array([[1, 40, 41]])
    >>> features = model({"encoder_token_ids": source, "decoder_token_ids": target})
    >>> model.logits(features).shape  # of the token behind each
    TensorShape([1, 3, 1000])
    >>> model(source).shape
    TensorShape([1, 4, 32])

    Reference:
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762)
        - [Xiong et al., On Layer Normalization in the Transformer
          Architecture](https://arxiv.org/abs/2002.04745)
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int,
        num_heads: int,
        *,
        hidden_dim: int | None = None,
        source_vocabulary_size: int | None = None,
        pooling: str | None = None,
        norm_first: bool = True,
        activation: Any = "relu",
        epsilon: float = 1e-6,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.0,
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
        source = checks.integer(
            "source_vocabulary_size", source_vocabulary_size, minimum=1, optional=True
        )
        self._arguments = {
            **sizes,
            "source_vocabulary_size": source,
            "pooling": pooling,
            "norm_first": bool(norm_first),
            "activation": serialize_activation(get_activation(activation)),
            "epsilon": epsilon,
            "dropout_rate": dropout_rate,
            "attention_dropout_rate": attention_dropout_rate,
            "remat": bool(remat),
            "seed": checks.integer("seed", seed, optional=True),
        }
        self.vocabulary_size = sizes["vocabulary_size"]
        self.source_vocabulary_size = source or self.vocabulary_size
        self.width, self.pooling = sizes["width"], pooling
        like = {"dtype": self.dtype_policy}
        self.token_embedding = self._make_embedding("token_embedding", vocabulary_size, 1)
        self.source_embedding = self.token_embedding
        if source is not None:
            self.source_embedding = self._make_embedding("source_embedding", source, 2)
        self.position_encoding = SinusoidalPositionalEncoding(
            interleaved=True, name="position_encoding", **like
        )
        dropouts = (None, None) if seed is None else (seed, seed + 1)
        self.source_dropout, self.target_dropout = (
            keras.layers.Dropout(dropout_rate, seed=one, **like) for one in dropouts
        )
        initializer = keras.initializers.GlorotUniform(seed=seed)

        def blocks(name: str, first: int, has_context: bool) -> list:
            return [
                make_block(
                    first + number,
                    num_heads=num_heads,
                    hidden_dim=hidden_dim or 4 * width,
                    activation=activation,
                    norm_first=norm_first,
                    epsilon=epsilon,
                    dropout_rate=dropout_rate,
                    attention_dropout_rate=attention_dropout_rate,
                    kernel_initializer=initializer,
                    has_context=has_context,
                    remat=remat,
                    seed=seed,
                    name=f"{name}_block_{number + 1}",
                    **like,
                )
                for number in range(depth)
            ]

        self.encoder_blocks = blocks("encoder", 0, has_context=False)
        self.decoder_blocks = blocks("decoder", depth, has_context=True)
        self.encoder_norm = self.decoder_norm = None
        if norm_first:
            self.encoder_norm = make_norm("layer", epsilon=epsilon, name="encoder_norm", **like)
            self.decoder_norm = make_norm("layer", epsilon=epsilon, name="decoder_norm", **like)
        self.build((None, None))

    def _make_embedding(self, name: str, size: int, number: int) -> keras.layers.Layer:
        width, seed = self._arguments["width"], self._arguments["seed"]
        # logits are products with it, and so of variance 1 at the start
        small = keras.initializers.RandomNormal(stddev=width**-0.5, seed=seed)
        return keras.layers.ReversibleEmbedding(
            size,
            width,
            embeddings_initializer=initializer_copy(small, number),
            reverse_dtype=self.compute_dtype,
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: tuple) -> None:
        tokens = (None, None, self.width)
        for embedding in (self.token_embedding, self.source_embedding):
            if not embedding.built:
                embedding.build((None, None))
        one = (self.position_encoding, self.encoder_norm, self.decoder_norm, *self.encoder_blocks)
        for layer in one:
            if layer is not None and not layer.built:
                layer.build(tokens)
        for block in self.decoder_blocks:
            if not block.built:
                block.build(tokens, tokens)
        self.built = True

    def _embed(self, embedding: keras.layers.Layer, token_ids: Any, start: Any = 0) -> Any:
        x = embedding(token_ids) * math.sqrt(self.width)
        return self.position_encoding(x, start=start)

    def encode(
        self, inputs: Any, return_attention_scores: bool = False, training: bool | None = None
    ) -> dict[str, Any]:
        """Return the features of a source, and its tokens after each block.

        Args:
            inputs: token ids `(batch, length)` of the source, or a dictionary of `"token_ids"` and
                `"padding_mask"`.
            return_attention_scores: whether to return the scores of each block.
            training: whether to apply dropout.

        Returns:
            Dictionary of

            - `"features"`: as `call` returns them.
            - `"tokens"`: `(batch, length, width)`, the context of the decoder.
            - `"pooled"`: `(batch, width)`, the features with a `pooling`, otherwise the mean.
            - `"blocks"`: list of all tokens after each block.
            - `"attention_scores"`: list of the scores of each block, `(batch, num_heads, length,
              length)`, if asked for.
        """
        given = self.read(inputs)
        x = self._embed(self.source_embedding, given.token_ids)
        x = self.source_dropout(x, training=training)
        outputs = run_blocks(self.encoder_blocks, x, given, return_attention_scores, training)
        tokens = outputs["blocks"][-1]
        if self.encoder_norm is not None:
            tokens = normalize(self.encoder_norm, tokens, training)
        outputs["tokens"] = tokens
        outputs["pooled"] = pool(tokens, given.padding_mask, self.pooling or "mean")
        outputs["features"] = tokens if self.pooling is None else outputs["pooled"]
        return outputs

    def decode(
        self,
        inputs: Any,
        context: Any,
        context_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> dict[str, Any]:
        """Return the features of the tokens of a target, all at once.

        Args:
            inputs: token ids `(batch, length)` of the target, or a dictionary of `"token_ids"` and
                `"padding_mask"`.
            context: what `encode` returned as `"tokens"`.
            context_mask: `(batch, positions)`, 0 for padding of the source.
            return_attention_scores: whether to return the scores of each block.
            training: whether to apply dropout.

        Returns:
            Dictionary of

            - `"tokens"`: `(batch, length, width)`, of which `logits` are made; also as
              `"features"`.
            - `"blocks"`: list of all tokens after each block.
            - `"attention_scores"`, `"context_scores"`: lists of the scores of each block, `(batch,
              num_heads, length, length)`, and `(batch, num_heads, length, positions)`, if asked
              for.
        """
        given = read_inputs(inputs, PAIR_KEYS, self.vocabulary_size)
        context_mask = None if context_mask is None else ops.cast(context_mask, "bool")
        x = self._embed(self.token_embedding, given.token_ids)
        x = self.target_dropout(x, training=training)
        outputs: dict[str, Any] = {"blocks": []}
        if return_attention_scores:
            outputs |= {"attention_scores": [], "context_scores": []}
        for block in self.decoder_blocks:
            x = block(
                x,
                context,
                inputs_mask=given.padding_mask,
                context_mask=context_mask,
                return_attention_scores=return_attention_scores,
                return_context_scores=return_attention_scores,
                training=training,
            )
            if return_attention_scores:
                x, own, of_context = x
                outputs["attention_scores"].append(own)
                outputs["context_scores"].append(of_context)
            outputs["blocks"].append(x)
        if self.decoder_norm is not None:
            x = normalize(self.decoder_norm, x, training)
        return {**outputs, "tokens": x, "features": x}

    def make_cache(self, batch_size: int, length: int, context: Any = None) -> Any:
        """Return an empty cache for `decode_step`; the first axis of its tensors is the batch.

        It holds the keys and values of the source, which are computed here once.

        Args:
            batch_size: number of sequences.
            length: the most tokens of a target.
            context: the source, as `encode` takes it, with `batch_size` rows.
        """
        tokens, mask = self.encode_context(context, batch_size)
        return {
            "blocks": make_caches(self.decoder_blocks, batch_size, length),
            "memories": [
                block.cross_attention.project_context(tokens) for block in self.decoder_blocks
            ],
            "context_mask": mask,
        }

    def decode_step(self, token_ids: Any, cache: Any, index: Any) -> tuple[Any, Any]:
        """Return the logits of the tokens that follow, and the cache with these tokens.

        Args:
            token_ids: integers `(batch, n)`, the tokens of the target from position `index` on.
            cache: as `make_cache` or an earlier call returned it.
            index: integer or integer scalar, how many tokens the cache holds.

        Returns:
            Logits `(batch, n, vocabulary_size)`, and the new cache.
        """
        ids = read_inputs(token_ids, PAIR_KEYS, self.vocabulary_size).token_ids
        check_cache(cache["blocks"], ids, index)
        x = self._embed(self.token_embedding, ids, start=index)
        x, blocks = step(
            self.decoder_blocks,
            x,
            cache["blocks"],
            index,
            cache["memories"],
            context_mask=cache["context_mask"],
        )
        if self.decoder_norm is not None:
            x = normalize(self.decoder_norm, x, False)
        return self.logits(x), {**cache, "blocks": blocks}

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        target_layer_names: tuple[str, ...] = ("attention", "cross_attention"),
    ) -> None:
        """Freeze the weights, and learn updates of low rank, as `TextEncoder.enable_lora`."""
        super().enable_lora(rank, lora_alpha, target_layer_names)

    def get_config(self) -> dict:
        """Return the constructor's arguments, and where LoRA is enabled."""
        return {**super().get_config(), **self._arguments}


def transformer(
    size: str | tuple[int, int, int] = "base", vocabulary_size: int = 32000, **kwargs: Any
) -> Transformer:
    """Build a transformer of encoder and decoder, as for translation.

    | Size | Width | Blocks of each | Heads | Parameters (32,000 tokens) |
    | --- | --- | --- | --- | --- |
    | `"base"` | 512 | 6 | 8 | 60.5 M |
    | `"big"` | 1024 | 6 | 16 | 209.1 M |

    Args:
        size: one of the names above, or `(width, blocks, heads)`.
        vocabulary_size: number of token ids.
        **kwargs: other arguments of `networks.Transformer`, such as `dropout_rate`.

    Returns:
        `networks.Transformer`.

    Raises:
        ValueError: if `size` is unknown, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> model = networks.transformer((32, 2, 4), vocabulary_size=1000, pooling="mean")
    >>> model(np.ones((2, 10), "int32")).shape
    TensorShape([2, 32])

    Reference:
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762)
    """
    width, depth, heads = named_size(size, _SIZES)
    return Transformer(vocabulary_size, width, depth, heads, **kwargs)
