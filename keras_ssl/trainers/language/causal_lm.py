"""CausalLM: a language model, which predicts each token from those before it."""

from typing import Any

import keras
from keras import ops

from keras_ssl.trainers.language._token_model import (
    TokenModel,
    as_text,
    mean_over_tokens,
    tokens_of,
)
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class CausalLM(TokenModel):
    r"""Causal language model: each token is predicted from those before it, as GPT-2 learns.

    With p the softmax of the logits at position t, which see the tokens up to t only:

        L = -1/M Σ_i Σ_t log p(token_i,t+1 | token_i,1 ... token_i,t)

    over the M tokens of the global batch that count: not the first one, no padding, and in packed
    blocks not the first token of a document. Windows of `context + 1` tokens train a network with
    as many positions as its context, since the last token is only predicted.

    The encoder has to be causal, such as `networks.gpt2`; of another one, which sees what it should
    predict, the loss falls to 0 and nothing is learned.

    Args:
        encoder: layer from token ids to a vector for each token: `networks.gpt2`, a KerasHub
            backbone, or any causal network.
        head: layer from vectors to logits with an attribute `units`, such as
            `keras.layers.Dense(vocabulary_size)`. `None` means products with
            `encoder.token_embedding` (tied weights).
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: token ids, or a dictionary.
        training: whether the encoder runs in training mode.

    Input shape:
        Integers `(batch, length)`, or a dictionary of them as `"token_ids"` with any of
        `"padding_mask"` and `"document_ids"`, of the same shape.

    Output shape:
        What the encoder returns.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if there is neither a tied embedding nor a head; before the first step, if data
            are not token ids of the vocabulary, or have fewer than two for each text.

    Example:

    >>> import numpy as np, keras_ssl
    >>> encoder = keras_ssl.networks.gpt2((16, 1, 2), vocabulary_size=50, max_length=8)
    >>> trainer = keras_ssl.trainers.CausalLM(encoder)
    >>> trainer.compile("adam")
    >>> history = trainer.fit(np.arange(90).reshape(10, 9) % 50, batch_size=5, verbose=0)
    >>> sorted(history.history)
    ['loss']

    Reference:
        - [Radford et al., Language Models are Unsupervised Multitask Learners](
          https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf)
        - [Bengio et al., A Neural Probabilistic Language Model](
          https://www.jmlr.org/papers/v3/bengio03a.html)
    """

    def check_views(self, views: Any) -> None:
        """Raise unless texts have two tokens or more."""
        check_two_tokens(views)

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the encoder's output, of a training window without its last token."""
        inputs = as_text(x)
        positions = getattr(self.encoder, "max_length", None)
        if positions is not None and inputs["token_ids"].shape[1] == positions + 1:
            x = {name: one[:, :-1] for name, one in inputs.items()}
        return super().call(x, training=training)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the errors of the tokens of each example, and their number."""
        inputs = as_text(batch.views)
        seen = {name: one[:, :-1] for name, one in inputs.items()}
        targets = inputs["token_ids"][:, 1:]
        counted = ops.ones_like(targets, dtype="bool")
        if "padding_mask" in inputs:
            counted = ops.cast(inputs["padding_mask"][:, 1:], "bool")
        if "document_ids" in inputs:
            documents = inputs["document_ids"]
            counted = ops.logical_and(counted, ops.equal(documents[:, 1:], documents[:, :-1]))
        return self.errors_of(targets, tokens_of(self.encoder, seen, training), counted)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the mean over tokens."""
        return {"next_token": mean_over_tokens(embeddings["errors"], embeddings["counts"])}


def check_two_tokens(x: Any) -> None:
    """Raise a `ValueError` unless texts have two tokens or more."""
    shape = as_text(x)["token_ids"].shape
    if shape[1] is not None and shape[1] < 2:
        raise ValueError(
            "Texts must have two tokens or more, of which the first is not predicted. "
            f"Received: token ids of shape {tuple(shape)}"
        )
