"""Seq2Seq: a text is predicted from another one, as in translation."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.trainers.language._token_model import (
    TokenModel,
    as_text,
    check_vocabulary,
    mean_over_tokens,
)
from keras_ssl.trainers.step import Batch

_SIDES = ("encoder", "decoder")
_KEYS = tuple(f"{side}_{key}" for side in _SIDES for key in ("token_ids", "padding_mask"))


@keras.saving.register_keras_serializable(package="keras_ssl")
class Seq2Seq(TokenModel):
    r"""Sequence to sequence: each token of a target is predicted from the source and those before.

    The decoder is given the true tokens before each (teacher forcing). With p the softmax of its
    logits and ε the label smoothing:

        L = 1/M Σ_i Σ_t -(1 - ε) log p(y_i,t+1 | x_i, y_i,1 ... y_i,t) - ε/V Σ_v log p(v | ...)

    over the M tokens of the targets of the global batch, without padding and without the first,
    the token that stands for the beginning.

    Args:
        encoder: network of encoder and decoder, called on a dictionary with `"encoder_token_ids"`
            and `"decoder_token_ids"`, that returns a vector for each token of the target, such as
            `networks.transformer`.
        label_smoothing: ε, the part of the target that all V tokens share.
        head: layer from vectors to logits with an attribute `units`. `None` means products with
            `encoder.token_embedding`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: token ids of sources, a dictionary of them and a `"padding_mask"`, or data as in
            training, of which the source is taken.
        training: whether the network runs in training mode.

    Input shape:
        A dictionary of integers `(batch, length)`, `"encoder_token_ids"` and
        `"decoder_token_ids"`, and, where there is padding, `"encoder_padding_mask"` and
        `"decoder_padding_mask"`. The lengths of source and target may differ.

    Output shape:
        What the network returns for a source.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; before the first step, if data are no pairs of
            token ids of the vocabularies, or targets have fewer than two tokens.

    Example:

    >>> import numpy as np, keras_ssl
    >>> network = keras_ssl.networks.transformer((16, 1, 2), vocabulary_size=50, pooling="mean")
    >>> trainer = keras_ssl.trainers.Seq2Seq(network, label_smoothing=0.1)
    >>> trainer.compile("adam")
    >>> source, target = np.arange(60).reshape(10, 6) % 50, np.arange(50).reshape(10, 5)
    >>> pairs = {"encoder_token_ids": source, "decoder_token_ids": target}
    >>> history = trainer.fit(pairs, batch_size=5, verbose=0)
    >>> trainer.predict(source, verbose=0).shape
    (10, 16)

    Reference:
        - [Sutskever et al., Sequence to Sequence Learning with Neural Networks](
          https://arxiv.org/abs/1409.3215)
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762), section
          5.4: label smoothing
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        label_smoothing: float = 0.0,
        head: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, head, **kwargs)
        self.label_smoothing = checks.probability("label_smoothing", label_smoothing)

    def check_views(self, views: Any) -> None:
        """Raise unless data are pairs of texts, of which targets have two tokens or more."""
        _, target = _split(views)
        length = target["token_ids"].shape[1]
        if length is not None and length < 2:
            raise ValueError(
                "Targets must have two tokens or more, of which the first is not predicted. "
                f"Received: 'decoder_token_ids' of shape {tuple(target['token_ids'].shape)}"
            )

    def check_values(self, x: Any) -> None:
        """Raise if a token id lies outside of its vocabulary."""
        sizes = {"decoder_token_ids": self.vocabulary_size}
        sizes["encoder_token_ids"] = getattr(self.encoder, "vocabulary_size", self.vocabulary_size)
        for name, size in sizes.items():
            check_vocabulary(x[name], size, f"'{name}'")

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the network's output for sources."""
        is_pair = isinstance(x, dict) and "decoder_token_ids" in x
        return self.encoder(_split(x)[0] if is_pair else x, training=training)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the errors of the tokens of each target, and their number."""
        _, target = _split(batch.views)
        inputs = {
            name: one[:, :-1] if name.startswith("decoder") else one
            for name, one in batch.views.items()
        }
        targets = target["token_ids"][:, 1:]
        counted = target.get("padding_mask")
        counted = ops.ones_like(targets) if counted is None else counted[:, 1:]
        tokens = self.encoder(inputs, training=training)
        return self.errors_of(targets, tokens, counted, self.label_smoothing)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the mean over tokens."""
        return {"next_token": mean_over_tokens(embeddings["errors"], embeddings["counts"])}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def _split(x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return source and target, without the prefixes of their names."""
    if not isinstance(x, dict) or set(x) - set(_KEYS) or not {_KEYS[0], _KEYS[2]} <= set(x):
        raise ValueError(
            "Data must be a dictionary of 'encoder_token_ids' and 'decoder_token_ids', and their "
            "padding masks. "
            f"Received: {sorted(x) if isinstance(x, dict) else type(x).__name__}"
        )
    source, target = (
        as_text({name.partition("_")[2]: x[name] for name in x if name.startswith(side)})
        for side in _SIDES
    )
    return source, target
