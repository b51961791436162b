"""Masks of attention: of padding, of positions to come, of documents and of a cache."""

import functools
from typing import Any

from keras import ops


def causal_mask(queries: Any, keys: Any) -> Any:
    """Return booleans `(queries, keys)`, `True` where a key is not after its query."""
    return ops.arange(queries)[:, None] >= ops.arange(keys)[None, :]


def in_cache(mask: Any, start: Any, new: int, length: int) -> Any:
    """Return a mask `(batch, length)` of a cache, given one of all positions or of new ones."""
    if mask is None:
        return None
    mask = ops.cast(mask, "bool")
    if len(mask.shape) != 2 or mask.shape[1] != new or new == length:
        return mask
    return ops.slice_update(ops.ones((ops.shape(mask)[0], length), "bool"), (0, start), mask)


def merge_masks(masks: dict[str, Any], sizes: tuple, segments: Any, written: Any) -> Any:
    """Return one mask that broadcasts to `sizes`, `(batch, heads, queries, keys)`, or `None`."""
    merged = [] if written is None else [written]
    for name, mask in masks.items():
        if mask is not None:
            mask = ops.cast(mask, "bool")
            _check_mask(name, tuple(mask.shape), sizes)
            rank = len(mask.shape)
            if name != "attention_mask":
                mask = mask[:, None, None, :]
            elif rank < 4:
                mask = mask[:, None] if rank == 3 else mask[None, None]
            merged.append(mask)
    if segments is not None:
        segments = ops.convert_to_tensor(segments)
        merged.append((segments[:, :, None] == segments[:, None, :])[:, None])
    return functools.reduce(ops.logical_and, merged) if merged else None


def _check_mask(name: str, shape: tuple, sizes: tuple) -> None:
    """Raise a `ValueError` unless a mask has one of its shapes; axes of size 1 broadcast."""
    batch, heads, queries, keys = sizes
    expected = [(queries, keys), (batch, queries, keys), (batch, heads, queries, keys)]
    hint = " For a mask of the keys, `(batch, keys)`, pass `value_mask`."
    if name != "attention_mask":
        expected, hint = [(batch, keys)], ""
    for one in expected:
        pairs = zip(shape, one, strict=False)
        if len(one) == len(shape) and all(a is None or b is None or a in (1, b) for a, b in pairs):
            return
    raise ValueError(
        f"`{name}` must have shape {' or '.join(map(str, expected))}.{hint} Received: shape {shape}"
    )
