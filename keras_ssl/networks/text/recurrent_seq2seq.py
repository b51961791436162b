"""Encoder and decoder of recurrent layers with attention, for translation."""

import itertools
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl._keras_internals import run_over_time
from keras_ssl.layers import RecurrentLayer
from keras_ssl.layers.recurrent.cells import make_cell
from keras_ssl.networks.text._inputs import read_inputs
from keras_ssl.networks.text._pairs import PAIR_KEYS, PairNetwork
from keras_ssl.networks.text._recurrent import (
    make_both_directions,
    make_embedding,
    recurrent_arguments,
    run_both_directions,
)
from keras_ssl.networks.text.text_encoder import pool

_POOLINGS = ("class", "mean", "last", None)
_ATTENTIONS = ("additive", "multiplicative")


@keras.saving.register_keras_serializable(package="keras_ssl")
class RecurrentSeq2Seq(PairNetwork):
    r"""Encoder of a source and decoder of a target of recurrent layers, with attention.

    The source is read in both directions. The decoder's first state is made of the mean of the
    source's tokens. With e_t the embedding of the target's token, h_t the state, s_j the source's
    tokens, α the softmax of the scores over j, and o_t what `logits` are made of:

        attention="additive", Bahdanau's
            a_tj = v · tanh(W h_t-1 + U s_j),   c_t = Σ_j α_tj s_j,   h_t = cell([e_t, c_t], h_t-1)
        attention="multiplicative", Luong's, without feeding o back
            h_t = cell(e_t, h_t-1),   a_tj = h_t W s_j,   c_t = Σ_j α_tj s_j
        both
            o_t = tanh(V [h_t, c_t])

    Luong's runs the decoder over all tokens before it looks at the source, and so learns faster.
    It learns by `trainers.Seq2Seq` and translates by `decoding.decode`. It is called on the same
    two things as `networks.Transformer`: a source, or a dictionary of source and target.

    Args:
        vocabulary_size: number of token ids.
        width: number of features of a token, an even number: each direction of the encoder has
            half, the decoder all.
        depth: number of recurrent layers of the encoder; the decoder has one.
        cell: `"lstm"`, `"gru"`, `"minimal_gru"` or `"rnn"`.
        attention: `"additive"` or `"multiplicative"`.
        source_vocabulary_size: number of token ids of the source, if source and target have not the
            same vocabulary. They then share no embedding.
        pooling: how the features of the source are made: `None` for all tokens, `(batch, length,
            width)`; `"mean"` of all that are no padding; `"class"` for the first token, or `"last"`
            for the last one that is no padding.
        dropout_rate: dropout rate of the inputs of the layers and of o.
        seed: integer seed of dropout and of the initial weights.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: as above.
        return_intermediates: whether to return all that `encode` or `decode` returns.
        training: whether to apply dropout.

    Input shape:
        Integers `(batch, length)`.

    Output shape:
        `(batch, length, width)`; of a source with a `pooling`, `(batch, width)`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if an argument is out of range, or inputs do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import decoding, networks
    >>> model = networks.RecurrentSeq2Seq(1000, width=32, attention="additive")
    >>> source, target = np.array([[5, 17, 9, 3]]), np.array([[1, 40, 41]])
    >>> features = model({"encoder_token_ids": source, "decoder_token_ids": target})
    >>> model.logits(features).shape  # of the token behind each
    TensorShape([1, 3, 1000])
    >>> decoding.decode(model, [[1]], max_new_tokens=5, context=source).token_ids.shape
    (1, 6)

    Reference:
        - [Bahdanau et al., Neural Machine Translation by Jointly Learning to Align and
          Translate](https://arxiv.org/abs/1409.0473)
        - [Luong et al., Effective Approaches to Attention-based Neural Machine
          Translation](https://arxiv.org/abs/1508.04025)
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int = 1,
        *,
        cell: str = "gru",
        attention: str = "multiplicative",
        source_vocabulary_size: int | None = None,
        pooling: str | None = None,
        dropout_rate: float = 0.1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if attention not in _ATTENTIONS:
            raise ValueError(
                f"`attention` must be one of {list(_ATTENTIONS)}. Received: attention={attention!r}"
            )
        source = checks.integer(
            "source_vocabulary_size", source_vocabulary_size, minimum=1, optional=True
        )
        self._arguments = {
            **recurrent_arguments(
                _POOLINGS,
                vocabulary_size=vocabulary_size,
                width=width,
                depth=depth,
                cell=cell,
                pooling=pooling,
                dropout_rate=dropout_rate,
                seed=seed,
                both_directions=True,
            ),
            "attention": attention,
            "source_vocabulary_size": source,
        }
        self.vocabulary_size = vocabulary_size
        self.source_vocabulary_size = source or vocabulary_size
        self.width, self.pooling = width, pooling
        like = {"dtype": self.dtype_policy}
        # one seed for each layer, two apart, since a cell takes two
        seeds = itertools.repeat(None) if seed is None else itertools.count(seed, 2)
        self.token_embedding = self.source_embedding = make_embedding(
            "token_embedding", vocabulary_size, width, seed, self.dtype_policy
        )
        if source is not None:
            self.source_embedding = make_embedding(
                "source_embedding", source, width, seed, self.dtype_policy, 2
            )
        self.dropouts = [
            keras.layers.Dropout(dropout_rate, seed=next(seeds), **like) for _ in range(depth + 2)
        ]
        self.encoder_blocks = make_both_directions(
            cell, width, depth, seeds, "encoder", self.dtype_policy
        )
        self.decoder = RecurrentLayer(
            make_cell(cell, width, seed=next(seeds), **like),
            return_sequences=True,
            return_state=True,
            name="decoder",
            **like,
        )

        def dense(name: str, **options: Any) -> keras.layers.Dense:
            kernel = keras.initializers.GlorotUniform(next(seeds))
            return keras.layers.Dense(
                width, kernel_initializer=kernel, name=name, **options, **like
            )

        self.first_states = [
            dense(f"first_state_{number + 1}", activation="tanh")
            for number in range(len(self.decoder.state_size))
        ]
        self.query = dense("query", use_bias=False)
        self.is_additive = attention == "additive"
        if self.is_additive:
            self.key = dense("key", use_bias=False)
            self.scores = keras.layers.AdditiveAttention(name="attention", **like)
        else:
            self.key = None
            self.scores = keras.layers.Attention(name="attention", **like)
        self.output_layer = dense("output", activation="tanh", use_bias=False)
        self.build((None, None))

    def build(self, input_shape: tuple) -> None:
        tokens = (None, None, self.width)
        for embedding in (self.token_embedding, self.source_embedding):
            if not embedding.built:
                embedding.build((None, None))
        for layer in (*self.encoder_blocks, self.query, self.key):
            if layer is not None and not layer.built:
                layer.build(tokens)
        both = (None, None, 2 * self.width)
        if not self.decoder.built:
            self.decoder.build(both if self.is_additive else tokens)
        for layer in self.first_states:
            if not layer.built:
                layer.build((None, self.width))
        if not self.scores.built:
            self.scores.build([tokens, tokens])
        if not self.output_layer.built:
            self.output_layer.build(both)
        self.built = True

    def encode(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Return the features of a source, and its tokens after each layer.

        Args:
            inputs: token ids `(batch, length)` of the source, or a dictionary of `"token_ids"` and
                `"padding_mask"`.
            training: whether to apply dropout.

        Returns:
            Dictionary of

            - `"features"`: as `call` returns them.
            - `"tokens"`: `(batch, length, width)`, the context of the decoder.
            - `"pooled"`: `(batch, width)`, the features with a `pooling`, otherwise the mean.
            - `"blocks"`: list of all tokens after each layer.
        """
        given = self.read(inputs)
        # the last two are the decoder's
        blocks = run_both_directions(
            self.source_embedding(given.token_ids),
            self.dropouts[:-2],
            self.encoder_blocks,
            given.padding_mask,
            training,
        )
        x = blocks[-1]
        pooled = pool(x, given.padding_mask, self.pooling or "mean")
        features = x if self.pooling is None else pooled
        return {"features": features, "tokens": x, "pooled": pooled, "blocks": blocks}

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
        keys = context if self.key is None else self.key(context)
        return {"values": context, "keys": keys, "mask": mask}

    def _first_states(self, context: Any, mask: Any) -> list[Any]:
        mean = pool(context, mask, "mean")
        return [layer(mean) for layer in self.first_states]

    def _attend(self, queries: Any, memory: dict[str, Any]) -> tuple[Any, Any]:
        """Return the weighted means of the source `(batch, n, width)`, and the weights."""
        found, weights = self.scores(
            [self.query(queries), memory["values"], memory["keys"]],
            mask=[None, memory["mask"]],
            return_attention_scores=True,
        )
        return found, weights

    def _decode(
        self, token_ids: Any, states: list[Any], memory: dict, mask: Any, training: bool | None
    ) -> tuple[Any, Any, list[Any]]:
        """Return the tokens behind the last layer, α, and the states at the end."""
        x = self.dropouts[-2](self.token_embedding(token_ids), training=training)
        if self.is_additive:
            cell, width = self.decoder.cell, self.width

            def step(inputs: Any, before: list[Any]) -> tuple[Any, list[Any]]:
                context, weights = self._attend(before[0][:, None], memory)
                joined = ops.concatenate([inputs, context[:, 0]], axis=-1)
                after, _ = cell.advance(cell.project(joined), list(before))
                return ops.concatenate([after[0], context[:, 0], weights[:, 0]], axis=-1), after

            _, found, states = run_over_time(
                step, x, states, mask=mask, input_length=x.shape[1], return_all_outputs=True
            )
            both, weights = found[..., : 2 * width], found[..., 2 * width :]
        else:
            h, *states = self.decoder(x, initial_state=states, mask=mask)
            h = ops.copy(h)  # without the mask, which would be taken for that of the queries
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

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {**super().get_config(), **self._arguments}
