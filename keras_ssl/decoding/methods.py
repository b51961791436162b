"""How the next token is chosen: the methods of `decode`."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.samplers.sampler import StepSeed

# of what is impossible: finite, so that sums of a few stay so
_LOWEST = -1e9


class Request(NamedTuple):
    """What to decode, as tensors.

    Attributes:
        token_ids: int32 `(batch, length)`, the prompts, and padding behind them.
        lengths: int32 `(batch,)`, the tokens of each prompt.
        limits: int32 `(batch,)`, the most tokens of each row.
        end_token: int32 scalar, the token that ends a row, or -1.
        pad_token: int32 scalar, what stands behind the end.
        seed: int32 `(2,)`: the seed, and how many steps other batches took before.
    """

    token_ids: Any
    lengths: Any
    limits: Any
    end_token: Any
    pad_token: Any
    seed: Any


class State(NamedTuple):
    """What was decoded so far, in one or more beams for each prompt.

    Attributes:
        token_ids: int32 `(batch, beams, length)`.
        lengths: int32 `(batch, beams)`, how many of them there are.
        log_probabilities: float32 `(batch, beams)`, of the tokens behind the prompt.
        ended: booleans `(batch, beams)`.
    """

    token_ids: Any
    lengths: Any
    log_probabilities: Any
    ended: Any


class DecodingMethod:
    """Base of the methods of `decode`, which choose the next token of each row by its logits.

    For a method of your own, write a subclass with `choose(logits, seed)`, and with `get_config` if
    its constructor has arguments.

    Example:

    The second best token:

    >>> import keras
    >>> from keras_ssl import decoding
    >>> class SecondBest(decoding.DecodingMethod):
    ...     def choose(self, logits, seed):
    ...         return keras.ops.top_k(logits, 2)[1][:, 1]
    >>> method = SecondBest()
    """

    beams = 1

    def choose(self, logits: Any, seed: Any) -> Any:
        """Return the next token of each row.

        Args:
            logits: float32 `(batch, vocabulary)`.
            seed: a seed for `keras.random`, another one at each step.

        Returns:
            Integers `(batch,)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `choose(logits, seed)`.")

    def start(self, request: Request) -> State:
        """Return the state before the first step: the prompts, `beams` times each."""
        batch, length = request.token_ids.shape
        first = ops.arange(self.beams) == 0
        log_probabilities = ops.where(first, 0.0, _LOWEST)
        return State(
            ops.broadcast_to(request.token_ids[:, None], (batch, self.beams, length)),
            ops.broadcast_to(request.lengths[:, None], (batch, self.beams)),
            ops.cast(ops.broadcast_to(log_probabilities, (batch, self.beams)), "float32"),
            ops.broadcast_to((request.lengths >= request.limits)[:, None], (batch, self.beams)),
        )

    def advance(self, state: State, logits: Any, index: Any, request: Request) -> tuple[State, Any]:
        """Return the state with the tokens at `index`.

        Args:
            state: the state before.
            logits: float32 `(batch * beams, vocabulary)` of these tokens.
            index: int32 scalar, their position, which is behind the shortest prompt or within a
                longer one, whose tokens stay.
            request: what to decode.

        Returns:
            The state, and int32 `(batch * beams,)`, the rows that its beams were at before; `None`
            if they are the same.
        """
        seed = StepSeed(request.seed[0], request.seed[1] + index)
        chosen = ops.cast(self.choose(logits, seed), "int32")
        known = index < request.lengths
        chosen = ops.where(known, ops.take(request.token_ids, index, axis=1), chosen)
        is_new = ops.logical_not(ops.logical_or(known, state.ended[:, 0]))
        gains = ops.take_along_axis(ops.log_softmax(logits), chosen[:, None], axis=-1)
        gains = ops.where(is_new[:, None], gains, 0.0)
        state = state._replace(log_probabilities=state.log_probabilities + gains)
        return written(state, chosen[:, None], index, request), None

    def finish(self, state: State, request: Request) -> State:
        """Return the state of the best beam of each prompt, without the axis of beams."""
        return State(*(one[:, 0] for one in state))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DecodingMethod":
        """Make the method that `config` describes."""
        return cls(**config)


def written(state: State, chosen: Any, index: Any, request: Request) -> State:
    """Return the state with chosen tokens `(batch, beams)` at `index`; what has ended gets none."""
    known = (index < request.lengths)[:, None]
    chosen = ops.where(state.ended, request.pad_token, chosen)
    lengths = state.lengths + ops.cast(ops.logical_not(ops.logical_or(known, state.ended)), "int32")
    is_last = ops.logical_and(ops.logical_not(known), chosen == request.end_token)
    is_last = ops.logical_or(is_last, (index + 1 >= request.limits)[:, None])
    return State(
        ops.slice_update(state.token_ids, (0, 0, index), chosen[:, :, None]),
        lengths,
        state.log_probabilities,
        ops.logical_or(state.ended, is_last),
    )


@keras.saving.register_keras_serializable(package="keras_ssl")
class Greedy(DecodingMethod):
    """The token of the highest probability at each step.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import decoding, networks
    >>> model = networks.gpt2((32, 2, 4), vocabulary_size=65, max_length=16, seed=0)
    >>> decoding.decode(model, np.array([[1, 2]]), 4, method=decoding.Greedy()).token_ids.shape
    (1, 6)
    """

    def choose(self, logits: Any, seed: Any) -> Any:
        """Return the token of the highest logit of each row."""
        return ops.argmax(logits, axis=-1)


@keras.saving.register_keras_serializable(package="keras_ssl")
class Sampling(DecodingMethod):
    r"""A token at random, with the probabilities of the model or changed ones.

    The logits are divided by the temperature. Of the tokens, the `top_k` of the highest
    probabilities are kept; and of these the fewest whose probabilities sum to at least `top_p`
    (nucleus sampling), the highest first. The others are never drawn.

    Args:
        temperature: below 1 likely tokens become more likely, above 1 less.
        top_k: how many tokens are kept, or `None` for all.
        top_p: the probability that is kept, in (0, 1], or `None` for all of it.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import decoding, networks
    >>> model = networks.gpt2((32, 2, 4), vocabulary_size=65, max_length=16, seed=0)
    >>> method = decoding.Sampling(temperature=0.8, top_k=40)
    >>> one = decoding.decode(model, np.array([[1, 2]]), 4, method=method, seed=7)
    >>> same = decoding.decode(model, np.array([[1, 2]]), 4, method=method, seed=7)
    >>> bool((one.token_ids == same.token_ids).all())
    True

    Reference:
        - [Fan et al., Hierarchical Neural Story Generation](
          https://arxiv.org/abs/1805.04833), top k
        - [Holtzman et al., The Curious Case of Neural Text
          Degeneration](https://arxiv.org/abs/1904.09751), top p
    """

    def __init__(
        self, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
    ):
        self.temperature = checks.positive("temperature", temperature)
        self.top_k = checks.integer("top_k", top_k, minimum=1, optional=True)
        self.top_p = None if top_p is None else checks.positive("top_p", top_p, maximum=1.0)

    def choose(self, logits: Any, seed: Any) -> Any:
        """Return a token of each row at random."""
        return keras.random.categorical(self.kept(logits), 1, dtype="int32", seed=seed)[:, 0]

    def kept(self, logits: Any) -> Any:
        """Return the logits of which tokens are drawn: divided, and lowest where never.

        Args:
            logits: float32 `(batch, vocabulary)`.
        """
        logits = logits / self.temperature
        count = logits.shape[-1]
        if self.top_k is not None and self.top_k < count:
            least = ops.top_k(logits, self.top_k)[0][:, -1:]
            logits = ops.where(logits < least, _LOWEST, logits)
        if self.top_p is not None and self.top_p < 1:
            falling = ops.top_k(logits, count)[0]
            probabilities = ops.softmax(falling)
            before = ops.cumsum(probabilities, axis=-1) - probabilities
            least = ops.where(before < self.top_p, falling, float("inf"))
            least = ops.min(least, axis=-1, keepdims=True)
            logits = ops.where(logits < least, _LOWEST, logits)
        return logits

    def get_config(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}


@keras.saving.register_keras_serializable(package="keras_ssl")
class BeamSearch(DecodingMethod):
    r"""Keeps the `width` best beginnings of each row, and returns the best sequence at the end.

    Sequences are ordered by

        log p / ((5 + n) / 6)^length_penalty

    with p the probability of the n tokens behind the prompt. What has ended stays among the
    beginnings as long as it is one of the best. With `width=1` this is `Greedy`.

    Args:
        width: number of beginnings that are kept.
        length_penalty: 0 for the most probable sequence; a larger number prefers longer ones.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import decoding, networks
    >>> model = networks.gpt2((32, 2, 4), vocabulary_size=65, max_length=16, seed=0)
    >>> method = decoding.BeamSearch(width=4)
    >>> found = decoding.decode(model, np.array([[1, 2]]), 4, method=method, end_token=0)
    >>> found.token_ids.shape, found.log_probabilities.shape
    ((1, 6), (1,))

    Reference:
        - [Wu et al., Google's Neural Machine Translation System](
          https://arxiv.org/abs/1609.08144), the length penalty
    """

    def __init__(self, width: int = 4, length_penalty: float = 0.0):
        self.width = checks.integer("width", width, minimum=1)
        self.length_penalty = checks.number("length_penalty", length_penalty, minimum=0.0)
        self.beams = self.width

    def _penalty(self, lengths: Any, request: Request) -> Any:
        """Return what log-probabilities are divided by, `(batch, beams)`."""
        new = ops.cast(ops.maximum(lengths - request.lengths[:, None], 0), "float32")
        return ((5.0 + new) / 6.0) ** self.length_penalty

    def advance(self, state: State, logits: Any, index: Any, request: Request) -> tuple[State, Any]:
        """Return the state with the best continuations, as `DecodingMethod.advance`."""
        batch, width, count = state.ended.shape[0], self.width, logits.shape[-1]
        gains = ops.reshape(ops.log_softmax(logits), (batch, width, count))
        # what a beam within its prompt, or behind its end, goes on with
        known = (index < request.lengths)[:, None]
        of_prompt = ops.take(request.token_ids, index, axis=1)[:, None]
        only = ops.where(known, of_prompt, request.pad_token)[:, :, None]
        is_only = ops.where(ops.arange(count) == only, 0.0, _LOWEST)
        has_one = ops.logical_or(known, state.ended)
        gains = ops.where(has_one[:, :, None], is_only, gains)
        totals = state.log_probabilities[:, :, None] + gains
        lengths = state.lengths + ops.cast(ops.logical_not(has_one), "int32")
        scores = totals / self._penalty(lengths, request)[:, :, None]
        places = ops.top_k(ops.reshape(scores, (batch, width * count)), width)[1]
        places = ops.cast(places, "int32")
        parents, chosen = places // count, places % count
        totals = ops.take_along_axis(ops.reshape(totals, (batch, -1)), places, axis=1)
        state = State(
            ops.take_along_axis(state.token_ids, parents[:, :, None], axis=1),
            ops.take_along_axis(state.lengths, parents, axis=1),
            ops.reshape(totals, (batch, width)),
            ops.take_along_axis(state.ended, parents, axis=1),
        )
        rows = ops.arange(batch, dtype="int32")[:, None] * width + parents
        return written(state, chosen, index, request), ops.reshape(rows, (-1,))

    def finish(self, state: State, request: Request) -> State:
        """Return the state of the best beam of each prompt, without the axis of beams."""
        scores = state.log_probabilities / self._penalty(state.lengths, request)
        best = ops.argmax(scores, axis=1)[:, None]
        found = [ops.take_along_axis(one, best, axis=1)[:, 0] for one in state[1:]]
        token_ids = ops.take_along_axis(state.token_ids, best[:, :, None], axis=1)[:, 0]
        return State(token_ids, *found)

    def get_config(self) -> dict[str, Any]:
        return {"width": self.width, "length_penalty": self.length_penalty}
