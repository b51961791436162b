"""What networks of text are called on: token ids, or a dictionary of them and their masks."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ssl._known_values import check_range

KEYS = ("token_ids", "padding_mask", "segment_ids", "document_ids")


class TextInputs(NamedTuple):
    """Tokens and what belongs to them, tensors `(batch, length)`; `None` where it was not given.

    Attributes:
        token_ids: int32 token ids.
        padding_mask: booleans, `False` for padding.
        segment_ids: int32, which of two sentences a token is of.
        document_ids: int32, the document of each token of packed ones.
    """

    token_ids: Any
    padding_mask: Any
    segment_ids: Any
    document_ids: Any


def read_inputs(
    inputs: Any,
    keys: tuple[str, ...],
    vocabulary_size: int,
    max_length: int | None = None,
    segments: int | None = None,
) -> TextInputs:
    """Return inputs as tensors, checked.

    Args:
        inputs: integers `(batch, length)`, or a dictionary of some of `KEYS`.
        keys: the keys that the network can use.
        vocabulary_size: how many token ids there are.
        max_length: the most positions, if there is such a number.
        segments: how many segments there are.
    """
    given = dict(inputs) if isinstance(inputs, dict) else {"token_ids": inputs}
    unknown = sorted(set(given) - set(keys))
    if unknown or "token_ids" not in given:
        raise ValueError(
            f"`inputs` must be integers (batch, length), or a dictionary with 'token_ids' and any "
            f"others of {list(keys)}. Received: a dictionary of {sorted(given)}"
        )
    found = {name: _integers(name, one) for name, one in given.items() if one is not None}
    ids = found["token_ids"]
    for name, one in found.items():
        sides = zip(one.shape, ids.shape, strict=True)
        if any(None not in pair and pair[0] != pair[1] for pair in sides):
            raise ValueError(
                f"`{name}` must have the shape of `token_ids`, {tuple(ids.shape)}. "
                f"Received: shape {tuple(one.shape)}"
            )
    length = ids.shape[1]
    if max_length is not None and length is not None and length > max_length:
        raise ValueError(
            f"There are positions for {max_length} tokens: cut the sequences, or make the network "
            f"with a larger `max_length`. Received: `token_ids` of shape {tuple(ids.shape)}"
        )
    check_range("token_ids", ids, vocabulary_size, "the vocabulary")
    if segments is not None and "segment_ids" in found:
        check_range("segment_ids", found["segment_ids"], segments, "the segments")
    if "padding_mask" in found:
        found["padding_mask"] = ops.cast(found["padding_mask"], "bool")
    return TextInputs(**{name: found.get(name) for name in KEYS})


def _integers(name: str, x: Any) -> Any:
    """Return int32 `(batch, length)`; a mask may hold booleans."""
    x = x if isinstance(x, keras.KerasTensor) else ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    if not (keras.backend.is_int_dtype(dtype) or (name == "padding_mask" and dtype == "bool")):
        expected = "booleans or integers" if name == "padding_mask" else "integers"
        raise ValueError(f"`{name}` must be {expected}. Received: dtype {dtype}")
    if len(x.shape) != 2:
        raise ValueError(
            f"`{name}` must have shape (batch, length). Received: shape {tuple(x.shape)}"
        )
    return ops.cast(x, "int32")


def positions_in_documents(document_ids: Any) -> Any:
    """Return int32 `(batch, length)`: how many tokens of its document come before each token."""
    same = document_ids[:, :, None] == document_ids[:, None, :]
    places = ops.arange(ops.shape(document_ids)[1])
    earlier = places[:, None] > places[None, :]
    return ops.sum(ops.cast(ops.logical_and(same, earlier[None]), "int32"), axis=-1)
