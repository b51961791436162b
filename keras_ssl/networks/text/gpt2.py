"""GPT-2: a transformer whose tokens see those before them, a language model."""

import math
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers import LearnedPositionalEmbedding
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.transformer._gelu import get_activation, serialize_activation
from keras_ssl.layers.transformer.blocks import make_norm, normalize
from keras_ssl.networks.text._blocks import checked_sizes, make_block, named_size, run_blocks
from keras_ssl.networks.text._caches import check_cache, make_caches, step
from keras_ssl.networks.text._causal import CausalNetwork
from keras_ssl.networks.text._inputs import positions_in_documents
from keras_ssl.networks.text.text_encoder import pool

# width, number of blocks, number of heads
_SIZES = {
    "small": (768, 12, 12),
    "medium": (1024, 24, 16),
    "large": (1280, 36, 20),
    "xl": (1600, 48, 25),
}
_CLIP_SIZES = {"clip_base": (512, 12, 8), "clip_large": (768, 12, 12)}
_POOLINGS = ("last", "end", "mean", None)


@keras.saving.register_keras_serializable(package="keras_ssl")
class GPT2(CausalNetwork):
    r"""Language model, in which tokens see themselves and those before them; `networks.gpt2`.

    The sum of the embeddings of token and position goes through blocks that normalize first, and a
    last normalization. `logits` are products with the embeddings of the tokens (tied weights).

    Kernels start from a normal distribution of standard deviation 0.02; those at the end of a
    residual branch of 0.02 / sqrt(2 depth).

    Args:
        vocabulary_size: number of token ids.
        width: number of features of a token.
        depth: number of blocks.
        num_heads: number of heads of the attention, a divisor of `width`.
        hidden_dim: width of the hidden layer of the blocks' feed-forward networks; four times
            `width` by default.
        max_length: number of learned positions, the most tokens of a sequence (the context).
        pooling: `None` for the features of all tokens, `(batch, length, width)`, `"last"` for those
            of the last token that is no padding, `"end"` for those of the first `end_token`, or
            `"mean"` for the mean of all that are no padding.
        end_token: id of the token that ends a text, for `pooling="end"`. `None` means the largest
            id of each text, as in OpenAI's CLIP. A text without it has the features of its last
            token that is no padding.
        activation: activation function of the feed-forward networks, as of `layers.FeedForward`.
        use_bias: whether dense layers add biases.
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
        `(batch, length, width)`, or `(batch, width)` with a `pooling`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if an argument is out of range, or inputs do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> model = networks.GPT2(1000, width=32, depth=2, num_heads=4, max_length=16)
    >>> features = model(np.array([[17, 9, 3, 21]]))
    >>> model.logits(features).shape  # of the token behind each
    TensorShape([1, 4, 1000])

    Reference:
        - [Radford et al., Language Models are Unsupervised Multitask Learners](
          https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf)
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int,
        num_heads: int,
        *,
        hidden_dim: int | None = None,
        max_length: int = 1024,
        pooling: str | None = None,
        end_token: int | None = None,
        activation: Any = "gelu_tanh",
        use_bias: bool = True,
        epsilon: float = 1e-5,
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
        end_token = checks.integer("end_token", end_token, minimum=0, optional=True)
        if end_token is not None and (pooling != "end" or end_token >= vocabulary_size):
            raise ValueError(
                '`end_token` must be below `vocabulary_size`, with `pooling="end"`. Received: '
                f"end_token={end_token}, vocabulary_size={vocabulary_size}, pooling={pooling!r}"
            )
        self._arguments = {
            **sizes,
            "max_length": checks.integer("max_length", max_length, minimum=1),
            "pooling": pooling,
            "end_token": end_token,
            "activation": serialize_activation(get_activation(activation)),
            "use_bias": bool(use_bias),
            "epsilon": epsilon,
            "dropout_rate": dropout_rate,
            "attention_dropout_rate": attention_dropout_rate,
            "remat": bool(remat),
            "seed": checks.integer("seed", seed, optional=True),
        }
        self.vocabulary_size, self.width = sizes["vocabulary_size"], sizes["width"]
        self.max_length, self.pooling, self.end_token = max_length, pooling, end_token
        like = {"dtype": self.dtype_policy}
        small = keras.initializers.RandomNormal(stddev=0.02, seed=seed)
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
        self.embedding_dropout = keras.layers.Dropout(dropout_rate, seed=seed, **like)
        smaller = keras.initializers.RandomNormal(
            stddev=0.02 / math.sqrt(2 * depth), seed=None if seed is None else seed + 50
        )
        self.blocks = [
            make_block(
                number,
                num_heads=num_heads,
                hidden_dim=hidden_dim or 4 * width,
                activation=activation,
                norm_first=True,
                epsilon=epsilon,
                dropout_rate=dropout_rate,
                attention_dropout_rate=attention_dropout_rate,
                kernel_initializer=small,
                output_initializer=smaller,
                use_bias=use_bias,
                remat=remat,
                seed=seed,
                name=f"block_{number + 1}",
                **like,
            )
            for number in range(depth)
        ]
        self.norm = make_norm("layer", epsilon=epsilon, name="norm", **like)
        self.build((None, None))

    def build(self, input_shape: tuple) -> None:
        tokens = (None, None, self.width)
        self.token_embedding.build((None, None))
        for layer in (self.position_embedding, *self.blocks, self.norm):
            if not layer.built:
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
            - `"tokens"`: behind the last normalization, `(batch, length, width)`.
            - `"pooled"`: `(batch, width)`, the features with a `pooling`, otherwise the last token
              that is no padding.
            - `"blocks"`: list of all tokens after each block, not normalized.
            - `"attention_scores"`: list of the scores of each block, `(batch, num_heads, length,
              length)`, if asked for.
        """
        given = self.read(inputs)
        positions = None
        if given.document_ids is not None:
            positions = positions_in_documents(given.document_ids)
        x = self.position_embedding(self.token_embedding(given.token_ids), positions=positions)
        x = self.embedding_dropout(x, training=training)
        outputs = run_blocks(
            self.blocks, x, given, return_attention_scores, training, use_causal_mask=True
        )
        tokens = outputs["tokens"] = normalize(self.norm, outputs["blocks"][-1], training)
        outputs["pooled"] = pool(
            tokens,
            given.padding_mask,
            self.pooling or "last",
            given.token_ids,
            self.end_token,
        )
        outputs["features"] = tokens if self.pooling is None else outputs["pooled"]
        return outputs

    def make_cache(self, batch_size: int, length: int, context: Any = None) -> Any:
        """Return an empty cache for `decode_step`; the first axis of its tensors is the batch.

        Args:
            batch_size: number of sequences.
            length: the most tokens of a sequence, at most `max_length`.
            context: must be `None`, since there is nothing else to attend to.
        """
        self.read_context(context)
        if length > self.max_length:
            raise ValueError(
                f"There are positions for {self.max_length} tokens. Received: length={length}"
            )
        return {"blocks": make_caches(self.blocks, batch_size, length)}

    def decode_step(self, token_ids: Any, cache: Any, index: Any) -> tuple[Any, Any]:
        """Return the logits of the tokens that follow, and the cache with these tokens.

        Args:
            token_ids: integers `(batch, n)`, the tokens from position `index` on.
            cache: as `make_cache` or an earlier call returned it.
            index: integer or integer scalar, how many tokens the cache holds.

        Returns:
            Logits `(batch, n, vocabulary_size)`, and the new cache.
        """
        ids = self.read(token_ids).token_ids
        check_cache(cache["blocks"], ids, index)
        x = self.position_embedding(self.token_embedding(ids), start=index)
        x, blocks = step(self.blocks, x, cache["blocks"], index)
        return self.logits(normalize(self.norm, x, False)), {"blocks": blocks}

    def get_config(self) -> dict:
        """Return the constructor's arguments, and where LoRA is enabled."""
        return {**super().get_config(), **self._arguments}


def gpt2(
    size: str | tuple[int, int, int] = "small", vocabulary_size: int = 50257, **kwargs: Any
) -> GPT2:
    """Build a GPT-2, a language model.

    | Size | Width | Blocks | Heads | Parameters (50,257 tokens) |
    | --- | --- | --- | --- | --- |
    | `"small"` | 768 | 12 | 12 | 124.4 M |
    | `"medium"` | 1024 | 24 | 16 | 354.8 M |
    | `"large"` | 1280 | 36 | 20 | 774.0 M |
    | `"xl"` | 1600 | 48 | 25 | 1557.6 M |

    Args:
        size: one of the names above, or `(width, blocks, heads)`.
        vocabulary_size: number of token ids.
        **kwargs: other arguments of `networks.GPT2`, such as `max_length`.

    Returns:
        `networks.GPT2` from `(batch, length)` to `(batch, length, width)`.

    Raises:
        ValueError: if `size` is unknown, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> model = networks.gpt2((32, 2, 4), vocabulary_size=65, max_length=64)
    >>> model(np.ones((2, 10), "int32")).shape
    TensorShape([2, 10, 32])

    Reference:
        - [Radford et al., Language Models are Unsupervised Multitask Learners](
          https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf)
    """
    width, depth, heads = named_size(size, _SIZES)
    return GPT2(vocabulary_size, width, depth, heads, **kwargs)


def text_transformer(
    size: str | tuple[int, int, int] = "clip_base", vocabulary_size: int = 49408, **kwargs: Any
) -> GPT2:
    """Build the text transformer of CLIP: GPT-2's blocks, and the features of the last token.

    | Size | Width | Blocks | Heads | Parameters (49,408 tokens) |
    | --- | --- | --- | --- | --- |
    | `"clip_base"` | 512 | 12 | 8 | 63.2 M |
    | `"clip_large"` | 768 | 12 | 12 | 123.1 M |

    Tokens see themselves and those before them, so the last one that is no padding, which should
    stand for the end of the text, has read all. Where texts are padded without a mask, name it:
    `pooling="end"` and `end_token`.

    The published models were trained with `activation="quick_gelu"`.

    Args:
        size: one of the names above, or `(width, blocks, heads)`.
        vocabulary_size: number of token ids.
        **kwargs: other arguments of `networks.GPT2`. Unlike there, `max_length` is 77, `pooling`
            `"last"`, and there is no dropout.

    Returns:
        `networks.GPT2` from `(batch, length)` to `(batch, width)`.

    Raises:
        ValueError: if `size` is unknown, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> model = networks.text_transformer((32, 2, 4), vocabulary_size=65, max_length=16)
    >>> model(np.ones((2, 10), "int32")).shape
    TensorShape([2, 32])

    Reference:
        - [Radford et al., Learning Transferable Visual Models From Natural Language
          Supervision](https://arxiv.org/abs/2103.00020), section 2.4
    """
    width, depth, heads = named_size(size, _CLIP_SIZES)
    published = {
        "max_length": 77,
        "pooling": "last",
        "activation": "gelu",
        "dropout_rate": 0.0,
        "attention_dropout_rate": 0.0,
    }
    return GPT2(vocabulary_size, width, depth, heads, **(published | kwargs))
