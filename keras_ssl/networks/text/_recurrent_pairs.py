"""What networks share whose targets are decoded by a recurrent layer."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl._keras_internals import run_over_time
from keras_ssl.layers import RecurrentLayer
from keras_ssl.layers.recurrent.cells import CELLS, make_cell
from keras_ssl.networks.text._inputs import read_inputs
from keras_ssl.networks.text._pairs import PAIR_KEYS, PairNetwork
from keras_ssl.networks.text._recurrent import make_embedding
from keras_ssl.networks.text.text_encoder import pool

_ATTENTIONS = ("additive", "multiplicative", None)


class RecurrentPairNetwork(PairNetwork):
    """Base of networks of a source whose targets are decoded by a recurrent layer.

    A subclass makes its encoder between the calls of `_make_dropouts` and `_make_decoder`, and
    defines `encode`, whose `"tokens"` have `width` features. Its `get_config` adds `_arguments`,
    which hold those of this constructor.

    Args:
        vocabulary_size: number of token ids of the target.
        width: number of features of a token, and units of the decoder.
        cell: `"lstm"`, `"gru"`, `"minimal_gru"` or `"rnn"`.
        attention: `"additive"`, `"multiplicative"` or `None`.
        dropout_rate: dropout rate of the inputs of layers and of what `logits` are made of.
        seed: integer seed of dropout and of the initial weights.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        *,
        cell: str,
        attention: str | None,
        dropout_rate: float,
        seed: int | None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_choice("cell", cell, tuple(CELLS))
        check_choice("attention", attention, _ATTENTIONS)
        self._arguments = {
            "vocabulary_size": checks.integer("vocabulary_size", vocabulary_size, minimum=1),
            "width": checks.integer("width", width, minimum=1),
            "cell": cell,
            "attention": attention,
            "dropout_rate": checks.below_one("dropout_rate", dropout_rate),
            "seed": checks.integer("seed", seed, optional=True),
        }
        self.vocabulary_size, self.width = vocabulary_size, width
        self.token_embedding = make_embedding(
            "token_embedding", vocabulary_size, width, self._arguments["seed"], self.dtype_policy
        )

    def _seeds(self) -> Iterator[int | None]:
        """Return one seed for each layer, two apart, since a cell takes two."""
        seed = self._arguments["seed"]
        return itertools.repeat(None) if seed is None else itertools.count(seed, 2)

    def _make_dropouts(self, count: int, seeds: Iterator[int | None]) -> None:
        """Make the dropout layers: so many of the encoder, and two of the decoder behind them."""
        self.dropouts = [
            keras.layers.Dropout(
                self._arguments["dropout_rate"], seed=next(seeds), dtype=self.dtype_policy
            )
            for _ in range(count + 2)
        ]

    def _make_dense(
        self, name: str, seeds: Iterator[int | None], **options: Any
    ) -> keras.layers.Dense:
        return keras.layers.Dense(
            self.width,
            kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            name=name,
            dtype=self.dtype_policy,
            **options,
        )

    def _make_decoder(self, seeds: Iterator[int | None], has_choice: bool = True) -> None:
        """Make the layers of the decoder.

        Args:
            seeds: iterator of seeds.
            has_choice: whether a source may have several tokens, to attend to one more than to
                others. Of a single token the weight is 1, without any scores.
        """
        like = {"dtype": self.dtype_policy}
        attention = self._arguments["attention"]
        self.decoder = RecurrentLayer(
            make_cell(self._arguments["cell"], self.width, seed=next(seeds), **like),
            return_sequences=True,
            return_state=True,
            name="decoder",
            **like,
        )
        self.first_states = [
            self._make_dense(f"first_state_{number + 1}", seeds, activation="tanh")
            for number in range(len(self.decoder.state_size))
        ]
        self.attends, self.is_additive = attention is not None, attention == "additive"
        self.query = self.key = self.scores = self.output_layer = None
        if self.attends and has_choice:
            self.query = self._make_dense("query", seeds, use_bias=False)
            if self.is_additive:
                self.key = self._make_dense("key", seeds, use_bias=False)
                self.scores = keras.layers.AdditiveAttention(name="attention", **like)
            else:
                self.scores = keras.layers.Attention(name="attention", **like)
        if self.attends:
            self.output_layer = self._make_dense("output", seeds, activation="tanh", use_bias=False)

    def _build_decoder(self) -> None:
        """Build the layers of the decoder, and the embedding of its tokens."""
        tokens, both = (None, None, self.width), (None, None, 2 * self.width)
        shapes = [
            (self.token_embedding, (None, None)),
            (self.query, tokens),
            (self.key, tokens),
            (self.decoder, both if self.is_additive else tokens),
            *((layer, (None, self.width)) for layer in self.first_states),
            (self.scores, [tokens, tokens]),
            (self.output_layer, both),
        ]
        for layer, shape in shapes:
            if layer is not None and not layer.built:
                layer.build(shape)

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
            return_attention_scores: whether to return α.
            training: whether to apply dropout.

        Returns:
            Dictionary of

            - `"tokens"`: `(batch, length, width)`, of which `logits` are made; also as
              `"features"`.
            - `"context_scores"`: list of α, `(batch, 1, length, positions)`, if asked for: of one
              layer with one head.
        """
        if return_attention_scores and not self.attends:
            raise ValueError(
                "`return_attention_scores` needs a network with an `attention`. "
                "Received: attention=None"
            )
        given = read_inputs(inputs, PAIR_KEYS, self.vocabulary_size)
        mask = ops.ones(ops.shape(context)[:2], "bool")
        if context_mask is not None:
            mask = ops.cast(context_mask, "bool")
        memory = self._memory(context, mask)
        tokens, scores, _ = self._decode(
            given.token_ids, self._first_states(context, mask), memory, given.padding_mask, training
        )
        outputs = {"tokens": tokens, "features": tokens}
        return outputs | ({"context_scores": [scores[:, None]]} if return_attention_scores else {})

    def _memory(self, context: Any, mask: Any) -> dict[str, Any]:
        """Return what each token attends to; nothing without attention."""
        if not self.attends:
            return {}
        keys = context if self.key is None else self.key(context)
        return {"values": context, "keys": keys, "mask": mask}

    def _first_states(self, context: Any, mask: Any) -> list[Any]:
        mean = pool(context, mask, "mean")
        return [layer(mean) for layer in self.first_states]

    def _attend(self, queries: Any, memory: dict[str, Any]) -> tuple[Any, Any]:
        """Return the weighted means of the source `(batch, n, width)`, and the weights."""
        if self.scores is None:
            weights = ops.ones_like(queries[..., :1])
            return weights * memory["values"], weights
        found, weights = self.scores(
            [self.query(queries), memory["values"], memory["keys"]],
            mask=[None, memory["mask"]],
            return_attention_scores=True,
        )
        return found, weights

    def _decode(
        self, token_ids: Any, states: list[Any], memory: dict, mask: Any, training: bool | None
    ) -> tuple[Any, Any, list[Any]]:
        """Return the tokens behind the last layer, α or `None`, and the states at the end."""
        x = self.dropouts[-2](self.token_embedding(token_ids), training=training)
        if self.is_additive:
            cell, width = self.decoder.cell, self.width

            def step(inputs: Any, before: list[Any]) -> tuple[Any, list[Any]]:
                context, weights = self._attend(before[0][:, None], memory)
                joined = ops.concatenate([inputs, context[:, 0]], axis=-1)
                after, _ = cell.advance(cell.project(joined), list(before))
                return ops.concatenate([after[0], context[:, 0], weights[:, 0]], axis=-1), after

            # otherwise Keras repeats the state at padding, which on JAX must be as wide as outputs
            options = {"return_all_outputs": True, "zero_output_for_mask": True}
            _, found, states = run_over_time(
                step, x, states, mask=mask, input_length=x.shape[1], **options
            )
            both, weights = found[..., : 2 * width], found[..., 2 * width :]
        else:
            h, *states = self.decoder(x, initial_state=states, mask=mask)
            h = ops.copy(h)  # without the mask, which would be taken for that of the queries
            if not self.attends:
                return self.dropouts[-1](h, training=training), None, states
            context, weights = self._attend(h, memory)
            both = ops.concatenate([h, context], axis=-1)
        tokens = self.dropouts[-1](self.output_layer(both), training=training)
        return tokens, weights, states

    def make_cache(self, batch_size: int, length: int, context: Any = None) -> Any:
        """Return the states before the first token and the source, for `decode_step`.

        Args:
            batch_size: number of sequences.
            length: the most tokens of a target; a state has room for any number.
            context: the source, as `encode` takes it, with `batch_size` rows.
        """
        tokens, mask = self.encode_context(context, batch_size)
        return {"states": self._first_states(tokens, mask), **self._memory(tokens, mask)}

    def decode_step(self, token_ids: Any, cache: Any, index: Any) -> tuple[Any, Any]:
        """Return the logits of the tokens that follow, and the states behind these tokens.

        Args:
            token_ids: integers `(batch, n)`, the tokens of the target from position `index` on.
            cache: as `make_cache` or an earlier call returned it.
            index: how many tokens came before, which the states know.

        Returns:
            Logits `(batch, n, vocabulary_size)`, and the new cache.
        """
        ids = read_inputs(token_ids, PAIR_KEYS, self.vocabulary_size).token_ids
        tokens, _, states = self._decode(ids, cache["states"], cache, None, False)
        return self.logits(tokens), {**cache, "states": list(states)}


def check_choice(name: str, value: Any, allowed: tuple) -> None:
    """Raise a `ValueError` unless an argument is one of some values."""
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {list(allowed)}. Received: {name}={value!r}")
