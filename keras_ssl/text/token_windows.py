"""Windows of one long text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks
from keras_ssl.data._row_batches import batched, shuffled
from keras_ssl.text._rows import FlatRows
from keras_ssl.text._texts import check_ids

if TYPE_CHECKING:
    import tensorflow as tf


def token_windows(
    tokens: Any,
    length: int,
    batch_size: int,
    stride: int | None = None,
    random: bool = False,
    seed: int | None = None,
    padding_mask: bool = True,
    pad_token_id: int = 0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch windows of one long row of tokens, such as all of Shakespeare as characters.

    A causal model learns to predict each token of a window from those before it; its inputs are the
    window without the last token, and its targets the window without the first. For a context of 64
    tokens, take windows of 65. With `stride=64` these predict every token of the text but the first
    exactly once, as a loss over a whole validation split needs.

    Args:
        tokens: ids of the text `(tokens,)`, such as `tokenizer.encode(string)`.
        length: number of tokens of a window.
        batch_size: number of windows per batch.
        stride: distance of the starts of consecutive windows, from 1 to `length`, which is the
            default.
        random: whether windows start anywhere and come in random order. An epoch has as many as
            there are consecutive ones; it draws one start out of each stretch of `stride` tokens,
            so that every part of the text is seen.
        seed: integer seed of what is drawn.
        padding_mask: whether batches have a `"padding_mask"`. Only the last of consecutive windows
            can have padding; without the mask it is left out unless it is full.
        pad_token_id: id after the end of the text.
        drop_remainder: whether to drop a smaller last batch.

    Returns:
        `tf.data.Dataset` of `{"token_ids": int32, "padding_mask": bool}`, each of shape
        `(batch, length)`.

    Raises:
        TypeError: if `tokens` are not integers.
        ValueError: if there are fewer tokens than a window needs, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import text
    >>> data = text.token_windows(np.arange(1, 9), length=4, batch_size=3, stride=3)
    >>> next(iter(data))["token_ids"].numpy()
    array([[1, 2, 3, 4],
           [4, 5, 6, 7],
           [7, 8, 0, 0]], dtype=int32)
    """
    tokens = check_ids("tokens", tokens, np.iinfo(np.int32).max)
    length = checks.integer("length", length, minimum=1)
    stride = length if stride is None else checks.integer("stride", stride, minimum=1)
    if stride > length:
        raise ValueError(
            f"`stride` must be at most `length`, {length}, so that no token is left out. Received: "
            f"stride={stride}"
        )
    shortest = length if random or not padding_mask else 1
    if len(tokens) < shortest:
        raise ValueError(
            f"`tokens` must be at least {shortest} for a window. Received: {len(tokens)} tokens"
        )
    windows = FlatRows(tokens, length, checks.integer("pad_token_id", pad_token_id, minimum=0))
    total, full = len(tokens), (len(tokens) - length) // stride + 1
    if random:
        numbers, start_of = _random_starts(total - length + 1, full, seed)
    else:
        numbers = _consecutive_starts(total, length, stride, None if padding_mask else full)
        start_of = _itself

    def to_batch(*drawn: tf.Tensor) -> dict[str, tf.Tensor]:
        starts = start_of(*drawn)
        batch = windows.gather(starts, total - starts)
        if not padding_mask:
            del batch["padding_mask"]
        return batch

    return batched(numbers, to_batch, batch_size, drop_remainder)


def _consecutive_starts(total: int, length: int, stride: int, count: int | None) -> tf.data.Dataset:
    """Return the starts of windows that each have tokens which those before lack."""
    import tensorflow as tf

    end = max(1, total - (length - stride)) if count is None else count * stride
    return tf.data.Dataset.range(0, end, stride)


def _itself(starts: tf.Tensor) -> tf.Tensor:
    return starts


def _random_starts(places: int, count: int, seed: int | None) -> tuple[tf.data.Dataset, Any]:
    """Return what an epoch draws, and the function that makes starts of windows of it.

    Each of `count` equal stretches of all places has one start. Both the order of the stretches and
    the places within come from shuffling, whose orders a resumed run draws again.
    """
    import tensorflow as tf

    def start_of(stretch: tf.Tensor, within: tf.Tensor) -> tf.Tensor:
        fraction = (tf.cast(within, tf.float64) + 0.5) / count
        place = (tf.cast(stretch, tf.float64) + fraction) * (places / count)
        return tf.minimum(tf.cast(place, tf.int64), places - 1)  # of rounding

    drawn = tf.data.Dataset.zip(shuffled(count, seed), shuffled(count, seed, stream=1))
    return drawn, start_of
