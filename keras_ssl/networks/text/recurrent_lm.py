"""A language model of recurrent layers."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers import RecurrentLayer
from keras_ssl.layers.recurrent.cells import make_cell
from keras_ssl.networks.text._causal import CausalNetwork
from keras_ssl.networks.text._recurrent import (
    make_embedding,
    recurrent_arguments,
    refuse_documents,
)
from keras_ssl.networks.text.text_encoder import pool

_POOLINGS = ("last", "mean", None)


@keras.saving.register_keras_serializable(package="keras_ssl")
class RecurrentLM(CausalNetwork):
    r"""Language model of recurrent layers, such as one of characters by an LSTM.

    The embedding of each token goes through recurrent layers, which remember those before it.
    `logits` are products with the embeddings of the tokens (tied weights). It learns by
    `trainers.CausalLM` and writes by `decoding.decode`, for which its cache is the state of its
    layers, so that a text may have any length.

    Args:
        vocabulary_size: number of token ids.
        width: number of features of a token, and units of each layer.
        depth: number of recurrent layers.
        cell: `"lstm"`, `"gru"`, `"minimal_gru"` or `"rnn"`.
        pooling: `None` for the features of all tokens, `(batch, length, width)`, `"last"` for those
            of the last token that is no padding, or `"mean"` for the mean of all that are none.
        dropout_rate: dropout rate of the inputs of each layer and of the logits' inputs, not of
            what goes from one time step to the next.
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
    >>> from keras_ssl import decoding, networks
    >>> model = networks.RecurrentLM(65, width=32, depth=2, cell="gru")
    >>> features = model(np.array([[17, 9, 3, 21]]))
    >>> model.logits(features).shape  # of the token behind each
    TensorShape([1, 4, 65])
    >>> decoding.decode(model, [[17, 9]], max_new_tokens=5).token_ids.shape
    (1, 7)

    Reference:
        - Mikolov et al., Recurrent Neural Network Based Language Model, Interspeech 2010
        - [Zaremba et al., Recurrent Neural Network Regularization](
          https://arxiv.org/abs/1409.2329), where dropout is
        - [Press & Wolf, Using the Output Embedding to Improve Language
          Models](https://arxiv.org/abs/1608.05859), for tied weights
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        depth: int = 1,
        *,
        cell: str = "lstm",
        pooling: str | None = None,
        dropout_rate: float = 0.0,
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
            both_directions=False,
        )
        self.vocabulary_size, self.width, self.pooling = vocabulary_size, width, pooling
        like = {"dtype": self.dtype_policy}
        seeds = [None if seed is None else seed + 2 * number for number in range(depth + 1)]
        self.token_embedding = make_embedding(
            "token_embedding", vocabulary_size, width, seed, self.dtype_policy
        )
        self.dropouts = [keras.layers.Dropout(dropout_rate, seed=one, **like) for one in seeds]
        self.blocks = [
            RecurrentLayer(
                make_cell(cell, width, seed=one, **like),
                return_sequences=True,
                return_state=True,
                name=f"layer_{number + 1}",
                **like,
            )
            for number, one in enumerate(seeds[:-1])
        ]
        self.build((None, None))

    def build(self, input_shape: tuple) -> None:
        self.token_embedding.build((None, None))
        for layer in self.blocks:
            layer.build((None, None, self.width))
        self.built = True

    def encode(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Return the features of tokens and sequences, and the tokens after each layer.

        Args:
            inputs: as `call` takes them.
            training: whether to apply dropout.

        Returns:
            Dictionary of

            - `"features"`: as `call` returns them.
            - `"tokens"`: the outputs of the last layer, `(batch, length, width)`.
            - `"pooled"`: `(batch, width)`, the features with a `pooling`, otherwise the last token
              that is no padding.
            - `"blocks"`: list of all tokens after each layer.
        """
        given = self.read(inputs)
        refuse_documents(given)
        blocks, _ = self._run(given.token_ids, None, given.padding_mask, training)
        # a copy, without the mask that the layers have put on it, which a product cannot use
        tokens = ops.copy(self.dropouts[-1](blocks[-1], training=training))
        pooled = pool(tokens, given.padding_mask, self.pooling or "last")
        features = tokens if self.pooling is None else pooled
        return {"features": features, "tokens": tokens, "pooled": pooled, "blocks": blocks}

    def _run(
        self, token_ids: Any, states: Any, mask: Any, training: bool | None
    ) -> tuple[list[Any], list[list[Any]]]:
        """Return all tokens after each layer, and the states of the layers at the end."""
        x = self.token_embedding(token_ids)
        blocks, after = [], []
        for number, layer in enumerate(self.blocks):
            x, *state = layer(
                self.dropouts[number](x, training=training),
                initial_state=None if states is None else states[number],
                mask=mask,
            )
            blocks.append(x)
            after.append(state)
        return blocks, after

    def make_cache(self, batch_size: int, length: int, context: Any = None) -> Any:
        """Return the states before the first token, for `decode_step`.

        Args:
            batch_size: number of sequences.
            length: the most tokens of a sequence; a state has room for any number.
            context: must be `None`.
        """
        self.read_context(context)
        return {"states": [layer.get_initial_state(batch_size) for layer in self.blocks]}

    def decode_step(self, token_ids: Any, cache: Any, index: Any) -> tuple[Any, Any]:
        """Return the logits of the tokens that follow, and the states behind these tokens.

        Args:
            token_ids: integers `(batch, n)`, the tokens from position `index` on.
            cache: as `make_cache` or an earlier call returned it.
            index: how many tokens came before, which the states know.

        Returns:
            Logits `(batch, n, vocabulary_size)`, and the new cache.
        """
        ids = self.read(token_ids).token_ids
        blocks, states = self._run(ids, cache["states"], None, False)
        return self.logits(blocks[-1]), {"states": states}

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {**super().get_config(), **self._arguments}
