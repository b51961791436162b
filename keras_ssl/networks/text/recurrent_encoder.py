"""An encoder of recurrent layers in both directions."""

import itertools
from typing import Any

import keras
from keras import ops

from keras_ssl.layers import AdditiveAttentionPooling
from keras_ssl.networks.text._recurrent import (
    make_both_directions,
    make_embedding,
    recurrent_arguments,
    refuse_documents,
    run_both_directions,
)
from keras_ssl.networks.text.text_encoder import TextEncoder, pool

_POOLINGS = ("attention", "mean", "last", None)


@keras.saving.register_keras_serializable(package="keras_ssl")
class RecurrentEncoder(TextEncoder):
    r"""Encoder of recurrent layers that read texts in both directions, such as a Bi-LSTM.

    The embedding of each token goes through recurrent layers, of which each direction has half of
    the features. So a token's features depend on those before it and on those behind it.
    `networks.TokenClassifier` of it is a sequence tagger, `networks.SentenceClassifier` a
    classifier of texts. It learns without labels by `trainers.MaskedLM` and `trainers.SimCSE`.

    Args:
        vocabulary_size: number of token ids.
        width: number of features of a token, an even number, of which each direction has half.
        depth: number of recurrent layers, each in both directions.
        cell: `"lstm"`, `"gru"`, `"minimal_gru"` or `"rnn"`.
        pooling: how the features of a text are made: `None` for all tokens, `(batch, length,
            width)`; `"mean"` for the mean of all that are no padding; `"last"` for what each
            direction says of the token that it reads last; or `"attention"` for a weighted mean by
            `layers.AdditiveAttentionPooling`, with `width // 2` units.
        dropout_rate: dropout rate of the inputs of each layer, not of what goes from one token to
            the next.
        seed: integer seed of dropout and of the initial weights.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: token ids, or a dictionary of `"token_ids"` and `"padding_mask"`. Where there is
            padding, the states stay as they are.
        return_intermediates: whether to return all that `encode` returns, in a dictionary.
        training: whether to apply dropout.

    Input shape:
        Integers `(batch, length)`.

    Output shape:
        `(batch, length, width)`, or `(batch, width)` with a `pooling`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if an argument is out of range, or inputs do not fit. Packed documents are
            refused, since a state goes over from one to the next.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.RecurrentEncoder(1000, width=32)
    >>> token_ids = np.array([[17, 9, 3, 21], [40, 3, 0, 0]])
    >>> inputs = {"token_ids": token_ids, "padding_mask": token_ids != 0}
    >>> networks.TokenClassifier(encoder, classes=5)(inputs).shape  # of a tag for each token
    TensorShape([2, 4, 5])
    >>> encoder = networks.RecurrentEncoder(1000, width=32, pooling="attention")
    >>> outputs = encoder(inputs, return_intermediates=True)
    >>> outputs["features"].shape, outputs["pooling_scores"].shape
    (TensorShape([2, 32]), TensorShape([2, 4]))

    Reference:
        - Schuster & Paliwal, Bidirectional Recurrent Neural Networks, IEEE Transactions on Signal
          Processing 45, 1997
        - [Huang et al., Bidirectional LSTM-CRF Models for Sequence
          Tagging](https://arxiv.org/abs/1508.01991), whose tagger without a conditional random
          field this is
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int = 1,
        *,
        cell: str = "lstm",
        pooling: str | None = None,
        dropout_rate: float = 0.1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._arguments = recurrent_arguments(
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
        self.vocabulary_size, self.width, self.pooling = vocabulary_size, width, pooling
        policy = self.dtype_policy
        # one seed for each layer, two apart, since a cell takes two
        seeds = itertools.repeat(None) if seed is None else itertools.count(seed, 2)
        self.token_embedding = make_embedding(
            "token_embedding", vocabulary_size, width, seed, policy
        )
        self.dropouts = [
            keras.layers.Dropout(dropout_rate, seed=next(seeds), dtype=policy) for _ in range(depth)
        ]
        self.blocks = make_both_directions(cell, width, depth, seeds, "layer", policy)
        self.attention = None
        if pooling == "attention":
            self.attention = AdditiveAttentionPooling(
                width // 2,
                keras.initializers.GlorotUniform(next(seeds)),
                dtype=policy,
                name="pooling",
            )
        self.build((None, None))

    def build(self, input_shape: tuple) -> None:
        self.token_embedding.build((None, None))
        for layer in (*self.blocks, self.attention):
            if layer is not None and not layer.built:
                layer.build((None, None, self.width))
        self.built = True

    def encode(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Return the features of tokens and of texts, and the tokens after each layer.

        Args:
            inputs: as `call` takes them.
            training: whether to apply dropout.

        Returns:
            Dictionary of

            - `"features"`: as `call` returns them.
            - `"tokens"`: the outputs of the last layer, `(batch, length, width)`.
            - `"pooled"`: `(batch, width)`, the features with a `pooling`, otherwise the mean.
            - `"blocks"`: list of all tokens after each layer.
            - `"pooling_scores"`: with `pooling="attention"`, the weights of the tokens in the mean,
              `(batch, length)`.
        """
        given = self.read(inputs)
        refuse_documents(given)
        mask = given.padding_mask
        x = self.token_embedding(given.token_ids)
        blocks = run_both_directions(x, self.dropouts, self.blocks, mask, training)
        outputs = {"tokens": blocks[-1], "blocks": blocks}
        if self.pooling == "attention":
            pooled, outputs["pooling_scores"] = self.attention(
                blocks[-1], mask=mask, return_attention_scores=True
            )
        elif self.pooling == "last":
            pooled = _ends(blocks[-1], mask)
        else:
            pooled = pool(blocks[-1], mask, "mean")
        features = blocks[-1] if self.pooling is None else pooled
        return {**outputs, "pooled": pooled, "features": features}

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {**super().get_config(), **self._arguments}


def _ends(tokens: Any, mask: Any) -> Any:
    """Return the forward half of the last token, and the backward half of the first one."""
    forward, backward = ops.split(tokens, 2, axis=-1)
    first = backward[:, 0]
    if mask is not None:  # there may be padding in front
        places = ops.argmax(ops.cast(mask, "int32"), axis=1)
        first = ops.take_along_axis(backward, places[:, None, None], axis=1)[:, 0]
    return ops.concatenate([pool(forward, mask, "last"), first], axis=-1)
