"""Caches of the blocks of a decoder, and one step of decoding."""

from typing import Any

from keras_ssl.layers import TransformerEncoderBlock


def make_caches(
    blocks: list[TransformerEncoderBlock], batch_size: int, length: int
) -> list[dict[str, Any]]:
    """Return an empty cache for the self-attention of each block."""
    return [block.attention.make_cache(batch_size, length) for block in blocks]


def check_cache(caches: list[dict[str, Any]], token_ids: Any, index: Any) -> None:
    """Raise a `ValueError` unless the tokens fit into the caches."""
    rows, length = caches[0]["key"].shape[:2]
    batch, count = token_ids.shape
    if batch != rows and None not in (batch, rows):
        raise ValueError(
            f"`token_ids` must have as many rows as the cache, {rows}. "
            f"Received: shape {tuple(token_ids.shape)}"
        )
    if isinstance(index, int) and count is not None and not 0 <= index <= length - count:
        raise ValueError(
            f"The cache holds {length} tokens: make it longer by `make_cache(length=...)`. "
            f"Received: {count} tokens at index={index}"
        )


def step(
    blocks: list[TransformerEncoderBlock],
    x: Any,
    caches: list[dict[str, Any]],
    index: Any,
    memories: list[dict[str, Any]] | None = None,
    **arguments: Any,
) -> tuple[Any, list[dict[str, Any]]]:
    """Return tokens after all blocks, and their caches with the tokens from `index` on."""
    written = []
    for number, block in enumerate(blocks):
        of_context = {} if memories is None else {"memory": memories[number], **arguments}
        x, cache = block(x, cache=caches[number], cache_index=index, training=False, **of_context)
        written.append(cache)
    return x, written
