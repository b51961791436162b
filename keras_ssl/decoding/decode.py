"""Decoding as one compiled loop over a cache."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.decoding._compiled import compiled_for
from keras_ssl.decoding.methods import DecodingMethod, Greedy, Request

# prompts are read up to a multiple of this at once, so that few lengths are compiled
_CHUNK = 8


class Decoded(NamedTuple):
    """What `decode` returns, as arrays.

    Attributes:
        token_ids: int32 `(batch, length)`, the prompts, what follows them, and padding.
        lengths: int32 `(batch,)`, the tokens of each row, with the prompt and the end.
        log_probabilities: float32 `(batch,)`, the log-probability that the model gives to the
            tokens behind the prompt.
    """

    token_ids: np.ndarray
    lengths: np.ndarray
    log_probabilities: np.ndarray


def decode(
    model: keras.Model,
    prompts: Any,
    max_new_tokens: int | None = None,
    *,
    length: int | None = None,
    method: DecodingMethod | None = None,
    end_token: int | None = None,
    pad_token: int = 0,
    seed: int = 0,
    context: Any = None,
    batch_size: int | None = None,
    jit_compile: bool | None = None,
) -> Decoded:
    """Continue prompts token by token, in one compiled loop over the model's cache.

    The model is any that has `make_cache(batch_size, length, context)`, `decode_step(token_ids,
    cache, index)`, a `vocabulary_size` and, if there is one, a `max_length`: `networks.gpt2` and
    `networks.transformer`, whose source is the context. A loop is compiled for each shape of a
    batch, each number of tokens, and about each eighth length of the shortest prompt. It ends when
    all rows have.

    Args:
        model: the decoder.
        prompts: integers `(batch, length)` or a list of lists of integers, of different lengths if
            you like; or a dictionary of `"token_ids"` and a `"padding_mask"` whose zeros stand at
            the end of rows. Of a translation, the token that starts a target.
        max_new_tokens: the most tokens behind each prompt.
        length: in its place, the most tokens of a row with its prompt.
        method: `Greedy()` (default), `Sampling(...)`, `BeamSearch(...)`, or one of your own.
        end_token: the token that ends a row, of which it is the last; `None` for no such token.
        pad_token: what stands behind the end of a row.
        seed: integer seed of random numbers. The same seed gives the same tokens, in batches of
            the same size.
        context: what the model's `make_cache` takes, such as the source of a translation or the
            images of captions: an array or a dictionary of arrays, with as many rows as there are
            prompts.
        batch_size: how many prompts to decode together; all by default.
        jit_compile: whether XLA compiles the loop on TensorFlow; by default, on accelerators. On
            JAX it always does.

    Returns:
        `Decoded`: token ids, lengths and log-probabilities, as arrays.

    Raises:
        TypeError: if `model` is no decoder, `method` none of its kind, or a number no integer.
        ValueError: if a prompt is empty or longer than the model's positions or than `length`,
            holds numbers outside of the vocabulary, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import decoding, networks
    >>> model = networks.gpt2((32, 2, 4), vocabulary_size=65, max_length=32, seed=0)
    >>> found = decoding.decode(model, [[5, 9], [7]], max_new_tokens=10)
    >>> found.token_ids.shape, found.lengths.tolist()
    ((2, 12), [12, 11])
    """
    for name in ("make_cache", "decode_step", "vocabulary_size"):
        if not hasattr(model, name):
            raise TypeError(
                "`model` must be a decoder with `make_cache`, `decode_step` and `vocabulary_size`, "
                f"such as `networks.gpt2(...)`. Received: model={model!r} without `{name}`"
            )
    method = Greedy() if method is None else method
    if not isinstance(method, DecodingMethod):
        raise TypeError(
            "`method` must be a `keras_ssl.decoding.DecodingMethod`, such as `Greedy()`. "
            f"Received: method={method!r} of type {type(method)}"
        )
    vocabulary = model.vocabulary_size
    token_ids, lengths = _read_prompts(prompts, vocabulary)
    end_token = checks.integer("end_token", end_token, minimum=0, optional=True)
    pad_token = checks.integer("pad_token", pad_token, minimum=0)
    for name, token in (("end_token", end_token), ("pad_token", pad_token)):
        if token is not None and token >= vocabulary:
            raise ValueError(
                f"`{name}` must be below {vocabulary}, the size of the vocabulary. "
                f"Received: {name}={token}"
            )
    limits = _limits(lengths, max_new_tokens, length, getattr(model, "max_length", None))
    seed = checks.integer("seed", seed)
    context = _read_context(model, context, len(lengths))
    total = int(limits.max())
    padded = np.full((len(lengths), total), pad_token, "int32")
    padded[:, : token_ids.shape[1]] = np.where(
        np.arange(token_ids.shape[1]) < lengths[:, None], token_ids, pad_token
    )
    size = checks.integer("batch_size", batch_size, minimum=1, optional=True)
    size = min(size or len(lengths), len(lengths))
    found = []
    for batch, start in enumerate(range(0, len(lengths), size)):
        rows = slice(start, start + size)
        request = Request(
            _filled(padded[rows], size),
            _filled(lengths[rows], size),
            _filled(limits[rows], size),
            np.int32(-1 if end_token is None else end_token),
            np.int32(pad_token),
            np.array([seed, batch * total], "int32"),
        )
        of_batch = None
        if context is not None:
            of_batch = keras.tree.map_structure(lambda one, r=rows: _filled(one[r], size), context)
        outputs = _run(model, method, request, of_batch, jit_compile)
        count = len(lengths[rows])
        found.append([ops.convert_to_numpy(one)[:count] for one in outputs])
    return Decoded(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _run(
    model: keras.Model,
    method: DecodingMethod,
    request: Request,
    context: Any,
    jit_compile: bool | None,
) -> tuple[Any, Any, Any]:
    """Return token ids, lengths and log-probabilities of one batch."""
    # the token before the first that is chosen is read by the loop
    first = int(request.lengths.min()) - 1
    first -= first % _CHUNK if first > _CHUNK else 0
    kind = type(method)
    settings = json.dumps(method.get_config(), sort_keys=True)
    arrays = [] if context is None else keras.tree.flatten(context)
    shapes = [(one.shape, str(one.dtype)) for one in arrays]
    key = (kind, settings, first, request.token_ids.shape, str(shapes))

    def make() -> Any:
        def run(model: keras.Model, request: tuple, context: Any) -> tuple[Any, Any, Any]:
            return _loop(model, method, first, Request(*request), context)

        return run

    return compiled_for(model, key, make, jit_compile)(tuple(request), context)


def _loop(
    model: keras.Model, method: DecodingMethod, first: int, request: Request, context: Any
) -> tuple[Any, Any, Any]:
    """Decode a batch whose first `first` tokens are known in each row."""
    request = Request(*(ops.convert_to_tensor(one) for one in request))
    batch, length = request.token_ids.shape
    cache = model.make_cache(batch, length, context)
    if first:
        _, cache = model.decode_step(request.token_ids[:, :first], cache, 0)
    if method.beams > 1:
        cache = keras.tree.map_structure(lambda x: ops.repeat(x, method.beams, axis=0), cache)

    def goes_on(index: Any, state: Any, cache: Any) -> Any:
        return ops.logical_and(index < length, ops.logical_not(ops.all(state[3])))

    def body(index: Any, state: Any, cache: Any) -> tuple[Any, Any, Any]:
        state = type(begun)(*state)
        last = ops.reshape(ops.take(state.token_ids, index - 1, axis=2), (-1, 1))
        logits, cache = model.decode_step(last, cache, index - 1)
        logits = ops.cast(logits[:, -1], "float32")
        state, parents = method.advance(state, logits, index, request)
        if parents is not None:
            cache = keras.tree.map_structure(lambda x: ops.take(x, parents, axis=0), cache)
        return index + 1, tuple(state), cache

    begun = method.start(request)
    index = ops.convert_to_tensor(first + 1, dtype="int32")
    _, state, _ = ops.while_loop(goes_on, body, (index, tuple(begun), cache))
    found = method.finish(type(begun)(*state), request)
    return found.token_ids, found.lengths, found.log_probabilities


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    """Return an array of `size` rows: of few, the last is repeated."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])


def _read_prompts(prompts: Any, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids `(batch, length)` and the lengths of the prompts, checked."""
    mask = None
    if isinstance(prompts, dict):
        if "token_ids" not in prompts or set(prompts) - {"token_ids", "padding_mask"}:
            raise ValueError(
                "`prompts` must be integers, or a dictionary of 'token_ids' and 'padding_mask'. "
                f"Received: a dictionary of {sorted(prompts)}"
            )
        mask, prompts = prompts.get("padding_mask"), prompts["token_ids"]
    if isinstance(prompts, (list, tuple)) and all(hasattr(row, "__len__") for row in prompts):
        counts = [len(row) for row in prompts]
        if len(set(counts)) > 1:
            prompts, mask = _padded(prompts, counts)
    ids = np.asarray(_array(prompts))
    if ids.ndim != 2 or not ids.size or ids.dtype.kind not in "iu":
        raise ValueError(
            "`prompts` must be integers (batch, length), at least one token in each row, such as a "
            f"start token. Received: shape {ids.shape} of {ids.dtype}"
        )
    lengths = np.full(len(ids), ids.shape[1], "int32")
    if mask is not None:
        mask = np.asarray(_array(mask)).astype(bool)
        lengths = mask.sum(axis=-1).astype("int32")
        if mask.shape != ids.shape or (mask != (np.arange(ids.shape[1]) < lengths[:, None])).any():
            raise ValueError(
                "`padding_mask` must have the shape of `token_ids`, with padding at the end of "
                f"rows. Received: shape {mask.shape} for {ids.shape}"
            )
    if lengths.min() < 1:
        raise ValueError(
            "`prompts` must have at least one token each, such as a start token. Received: an "
            f"empty prompt in row {int(lengths.argmin())}"
        )
    known = ids[np.arange(ids.shape[1]) < lengths[:, None]]
    if known.min() < 0 or known.max() >= vocabulary:
        raise ValueError(
            f"`prompts` must hold tokens from 0 to {vocabulary - 1}, the size of the vocabulary "
            f"minus 1. Received: values from {known.min()} to {known.max()}"
        )
    return ids.astype("int32"), lengths


def _padded(rows: Sequence[Any], counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.zeros((len(rows), max(counts)), "int64")
    mask = np.arange(max(counts)) < np.array(counts)[:, None]
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = values
    return ids, mask


def _array(x: Any) -> Any:
    return ops.convert_to_numpy(x) if ops.is_tensor(x) else x


def _limits(
    lengths: np.ndarray, max_new_tokens: int | None, length: int | None, positions: int | None
) -> np.ndarray:
    """Return the most tokens of each row, checked."""
    if (max_new_tokens is None) == (length is None):
        raise ValueError(
            "Expected one of `max_new_tokens` and `length`. "
            f"Received: max_new_tokens={max_new_tokens}, length={length}"
        )
    longest = int(lengths.max())
    if positions is not None and longest > positions:
        raise ValueError(
            f"`prompts` must have at most {positions} tokens, the positions of the model "
            f"(`max_length`). Received: a prompt of {longest} tokens"
        )
    if length is not None:
        length = checks.integer("length", length, minimum=1)
        if longest > length:
            raise ValueError(
                f"`length` must be at least that of the longest prompt, {longest}. "
                f"Received: length={length}"
            )
        limits = np.full_like(lengths, length)
    else:
        limits = lengths + checks.integer("max_new_tokens", max_new_tokens, minimum=1)
    if positions is not None and limits.max() > positions:
        raise ValueError(
            f"Prompts and new tokens must be at most {positions} tokens, the positions of the "
            f"model (`max_length`). Received: a prompt of {longest} tokens, "
            f"max_new_tokens={max_new_tokens}, length={length}"
        )
    return limits.astype("int32")


def _read_context(model: keras.Model, context: Any, rows: int) -> Any:
    """Return the context as arrays, checked as the model does."""
    # values are known here, and not within the loop
    if hasattr(model, "read_context"):
        model.read_context(context)
    if context is None:
        return None
    if not isinstance(context, dict):
        context = np.asarray(_array(context))
    context = keras.tree.map_structure(lambda one: np.asarray(_array(one)), context)
    for one in keras.tree.flatten(context):
        if one.ndim < 1 or len(one) != rows:
            raise ValueError(
                f"`context` must have {rows} rows, one for each prompt. Received: shape {one.shape}"
            )
    return context
