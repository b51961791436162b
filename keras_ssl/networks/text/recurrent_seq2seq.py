"""Encoder and decoder of recurrent layers with attention, for translation."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.networks.text._recurrent import (
    make_both_directions,
    make_embedding,
    recurrent_arguments,
    run_both_directions,
)
from keras_ssl.networks.text._recurrent_pairs import RecurrentPairNetwork
from keras_ssl.networks.text.text_encoder import pool

_POOLINGS = ("class", "mean", "last", None)


@keras.saving.register_keras_serializable(package="keras_ssl")
class RecurrentSeq2Seq(RecurrentPairNetwork):
    r"""Encoder of a source and decoder of a target of recurrent layers, with attention.

    The source is read in both directions. The decoder's first state is made of the mean of the
    source's tokens. With e_t the embedding of the target's token, h_t the state, s_j the source's
    tokens, α the softmax of the scores over j, and o_t what `logits` are made of:

        attention="additive", Bahdanau's
            a_tj = v · tanh(W h_t-1 + U s_j),   c_t = Σ_j α_tj s_j,   h_t = cell([e_t, c_t], h_t-1)
        attention="multiplicative", Luong's, without feeding o back
            h_t = cell(e_t, h_t-1),   a_tj = h_t W s_j,   c_t = Σ_j α_tj s_j
        of both
            o_t = tanh(V [h_t, c_t])
        attention=None
            h_t = cell(e_t, h_t-1),   o_t = h_t

    Luong's runs the decoder over all tokens before it looks at the source, and so learns faster.
    It learns by `trainers.Seq2Seq` and translates by `decoding.decode`. It is called on the same
    two things as `networks.Transformer`: a source, or a dictionary of source and target.

    Args:
        vocabulary_size: number of token ids.
        width: number of features of a token, an even number: each direction of the encoder has
            half, the decoder all.
        depth: number of recurrent layers of the encoder; the decoder has one.
        cell: `"lstm"`, `"gru"`, `"minimal_gru"` or `"rnn"`.
        attention: `"additive"`, `"multiplicative"`, or `None` for none.
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
        attention: str | None = "multiplicative",
        source_vocabulary_size: int | None = None,
        pooling: str | None = None,
        dropout_rate: float = 0.1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            vocabulary_size,
            width,
            cell=cell,
            attention=attention,
            dropout_rate=dropout_rate,
            seed=seed,
            **kwargs,
        )
        source = checks.integer(
            "source_vocabulary_size", source_vocabulary_size, minimum=1, optional=True
        )
        self._arguments |= recurrent_arguments(
            _POOLINGS,
            vocabulary_size=vocabulary_size,
            width=width,
            depth=depth,
            cell=cell,
            pooling=pooling,
            dropout_rate=dropout_rate,
            seed=seed,
            both_directions=True,
        )
        self._arguments["source_vocabulary_size"] = source
        self.source_vocabulary_size = source or vocabulary_size
        self.pooling = pooling
        seeds = self._seeds()
        self.source_embedding = self.token_embedding
        if source is not None:
            self.source_embedding = make_embedding(
                "source_embedding", source, width, seed, self.dtype_policy, 2
            )
        self._make_dropouts(depth, seeds)
        self.encoder_blocks = make_both_directions(
            cell, width, depth, seeds, "encoder", self.dtype_policy
        )
        self._make_decoder(seeds)
        self.build((None, None))

    def build(self, input_shape: tuple) -> None:
        if not self.source_embedding.built:
            self.source_embedding.build((None, None))
        for layer in self.encoder_blocks:
            if not layer.built:
                layer.build((None, None, self.width))
        self._build_decoder()
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

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {**super().get_config(), **self._arguments}
