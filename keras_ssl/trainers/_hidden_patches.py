"""Which patches of images a method hides, and the tokens at chosen places."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.tokens.random_masking import visible_indices
from keras_ssl.trainers.checks import check_type


def check_masking(masking: keras.layers.Layer) -> None:
    """Raise a `TypeError` unless a layer can tell how many tokens it hides."""
    check_type("masking", masking, keras.layers.Layer)
    if not callable(getattr(masking, "count", None)):
        raise TypeError(
            "`masking` must have a method `count(tokens)` that returns how many of a number "
            "of tokens are hidden, as many in every example, like "
            f"`keras_ssl.layers.RandomMasking`. Received: masking={masking!r}"
        )


def hide(masking: keras.layers.Layer, tokens: Any) -> tuple[Any, Any, Any]:
    """Choose the tokens that are hidden.

    Args:
        masking: layer from tokens to booleans `(batch, tokens)`, with a method `count(tokens)`.
        tokens: `(batch, tokens, width)`.

    Returns:
        Booleans `(batch, tokens)`, `True` for hidden tokens, and the indices of the visible and
        of the hidden ones, int32, each in their order.
    """
    is_hidden = masking(tokens)
    if len(is_hidden.shape) != 2 or is_hidden.shape[1] != tokens.shape[1]:
        raise ValueError(
            "`masking` must return booleans of shape (batch, tokens). Received: shape "
            f"{tuple(is_hidden.shape)} for tokens of shape {tuple(tokens.shape)}"
        )
    is_hidden = ops.cast(is_hidden, "bool")
    count = masking.count(tokens.shape[1])
    if not 0 < count < tokens.shape[1]:
        raise ValueError(
            "`masking` must hide at least one token and leave at least one. Received: "
            f"{count} hidden of {tokens.shape[1]} tokens"
        )
    return is_hidden, *visible_indices(is_hidden, count)


def take_tokens(tokens: Any, indices: Any) -> Any:
    """Return the tokens `(batch, count, width)` at indices `(batch, count)`."""
    return ops.take_along_axis(tokens, ops.expand_dims(indices, -1), axis=1)
