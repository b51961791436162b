"""The blocks of transformers of text."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers import (
    FeedForward,
    MultiHeadAttention,
    TransformerDecoderBlock,
    TransformerEncoderBlock,
)
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.networks.text._inputs import TextInputs


def checked_sizes(
    vocabulary_size: int, width: int, depth: int, num_heads: int, hidden_dim: int | None
) -> dict[str, Any]:
    """Return the sizes of a network as integers, or raise."""
    sizes = {
        "vocabulary_size": checks.integer("vocabulary_size", vocabulary_size, minimum=1),
        "width": checks.integer("width", width, minimum=1),
        "depth": checks.integer("depth", depth, minimum=1),
        "num_heads": checks.integer("num_heads", num_heads, minimum=1),
        "hidden_dim": checks.integer("hidden_dim", hidden_dim, minimum=1, optional=True),
    }
    if width % num_heads:
        raise ValueError(
            "`num_heads` must be a divisor of `width`. "
            f"Received: num_heads={num_heads}, width={width}"
        )
    return sizes


def named_size(size: Any, sizes: dict[str, tuple]) -> tuple[int, int, int]:
    """Return `(width, blocks, heads)`, given so or as a name."""
    if isinstance(size, str) and size in sizes:
        return sizes[size]
    if isinstance(size, str) or len(tuple(size)) != 3:
        raise ValueError(
            f"`size` must be one of {list(sizes)} or (width, blocks, heads). "
            f"Received: size={size!r}"
        )
    return tuple(size)


def make_block(
    number: int,
    *,
    num_heads: int,
    hidden_dim: int,
    activation: Any,
    norm_first: bool,
    epsilon: float,
    dropout_rate: float,
    attention_dropout_rate: float,
    kernel_initializer: keras.initializers.Initializer,
    output_initializer: keras.initializers.Initializer | None = None,
    use_bias: bool = True,
    has_context: bool = False,
    remat: bool = False,
    seed: int | None = None,
    name: str,
    dtype: Any,
) -> TransformerEncoderBlock:
    """Return the block of a number, from 0; its dropout and kernels draw from seeds of their own.

    As in BERT and GPT-2, dropout is applied to the outputs of both parts, and not to the hidden
    layer of the feed-forward network.
    """
    first = None if seed is None else seed + 100 * (number + 1)

    def shifted(by: int) -> int | None:
        return None if first is None else first + by

    def initializers(by: int) -> dict[str, Any]:
        # copies within a layer increase the seed once more for each kernel
        at = 100 * (number + 1) + by + 1
        last = None if output_initializer is None else initializer_copy(output_initializer, at)
        return {
            "kernel_initializer": initializer_copy(kernel_initializer, at),
            "output_initializer": last,
        }

    def attention(part: str, by: int) -> MultiHeadAttention:
        return MultiHeadAttention(
            num_heads,
            dropout_rate=attention_dropout_rate,
            use_bias=use_bias,
            seed=shifted(by),
            name=part,
            dtype=dtype,
            **initializers(by),
        )

    feed_forward = FeedForward(
        hidden_dim,
        activation,
        use_bias=use_bias,
        seed=shifted(20),
        name="feed_forward",
        dtype=dtype,
        **initializers(20),
    )
    kind, parts = TransformerEncoderBlock, {"attention": attention("attention", 10)}
    if has_context:
        kind, parts["cross_attention"] = TransformerDecoderBlock, attention("cross_attention", 30)
    return kind(
        num_heads,
        hidden_dim,
        feed_forward=feed_forward,
        norm_first=norm_first,
        epsilon=epsilon,
        dropout_rate=dropout_rate,
        remat=remat,
        seed=shifted(0),
        name=name,
        dtype=dtype,
        **parts,
    )


def run_blocks(
    blocks: list[TransformerEncoderBlock],
    x: Any,
    given: TextInputs,
    return_scores: bool,
    training: bool | None,
    **arguments: Any,
) -> dict[str, Any]:
    """Return the tokens after each block, as `"blocks"`, and `"attention_scores"` if asked for."""
    outputs: dict[str, Any] = {"blocks": []}
    if return_scores:
        outputs["attention_scores"] = []
    for block in blocks:
        x = block(
            x,
            inputs_mask=given.padding_mask,  # under `mask` Keras would attach it to the outputs
            segments=given.document_ids,
            return_attention_scores=return_scores,
            training=training,
            **arguments,
        )
        if return_scores:
            x, scores = x
            outputs["attention_scores"].append(scores)
        outputs["blocks"].append(x)
    return outputs
