"""Seq2Seq: a text is predicted from its source, such as another text or an image."""

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

_SIDES = {"source": "encoder", "target": "decoder"}  # of the data, and of the network


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
            `networks.transformer`. One whose source is no text, such as `networks.ImageCaptioner`,
            has a method `as_source(x)`, which returns a batch of sources as a dictionary, with
            names without `"encoder_"`, or raises a `ValueError`.
        label_smoothing: ε, the part of the target that all V tokens share.
        head: layer from vectors to logits with an attribute `units`. `None` means products with
            `encoder.token_embedding`.
        **kwargs: `augment`, such as `augment.OnKey("source", ...)` of images, and `name`, `dtype`
            of the model.

    Call arguments:
        x: sources, such as token ids or a dictionary of them and a `"padding_mask"`, or data as in
            training, of which the sources are taken.
        training: whether the network runs in training mode.

    Input shape:
        A dictionary of `"source"` and `"target"`, as `text.parallel_batches` makes it. Each is
        token ids, integers `(batch, length)`, or a dictionary of them as `"token_ids"` and a
        `"padding_mask"`. The lengths of source and target may differ. The source of an image
        captioner is images.

    Output shape:
        What the network returns for a source.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; before the first step, if data are no pairs of
            token ids of the vocabularies, the network cannot take the sources, or targets have
            fewer than two tokens.

    Example:

    >>> import numpy as np, keras_ssl
    >>> network = keras_ssl.networks.transformer((16, 1, 2), vocabulary_size=50, pooling="mean")
    >>> trainer = keras_ssl.trainers.Seq2Seq(network, label_smoothing=0.1)
    >>> trainer.compile("adam")
    >>> source, target = np.arange(60).reshape(10, 6) % 50, np.arange(50).reshape(10, 5)
    >>> pairs = {"source": source, "target": target}
    >>> history = trainer.fit(pairs, batch_size=5, verbose=0)
    >>> trainer.predict(source, verbose=0).shape
    (10, 16)

    Reference:
        - [Sutskever et al., Sequence to Sequence Learning with Neural Networks](
          https://arxiv.org/abs/1409.3215)
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762), section
          5.4: label smoothing
    """

    learns_from = "pairs of a source and a target text"

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
        """Raise unless data are pairs of which targets have two tokens or more."""
        shape = self._pairs(views)["target"]["token_ids"].shape
        if shape[1] is not None and shape[1] < 2:
            raise ValueError(
                "Targets must have two tokens or more, of which the first is not predicted. "
                f"Received: targets of shape {tuple(shape)}"
            )

    def check_values(self, x: Any) -> None:
        """Raise if a token id lies outside of its vocabulary."""
        size = self.vocabulary_size
        sizes = {
            "target": size,
            "source": getattr(self.encoder, "source_vocabulary_size", size),
        }
        for name, one in self._pairs(x).items():
            if "token_ids" in one:
                check_vocabulary(one["token_ids"], sizes[name], f"Token ids of '{name}'")

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the network's output for sources."""
        is_pair = isinstance(x, dict) and "target" in x
        return self.encoder(self._pairs(x)["source"] if is_pair else x, training=training)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the errors of the tokens of each target, and their number."""
        pairs = self._pairs(batch.views)
        target = pairs["target"]
        seen = {**pairs, "target": {name: one[:, :-1] for name, one in target.items()}}
        inputs = {
            f"{_SIDES[side]}_{name}": one
            for side, named in seen.items()
            for name, one in named.items()
        }
        targets = target["token_ids"][:, 1:]
        counted = target.get("padding_mask")
        counted = ops.ones_like(targets) if counted is None else counted[:, 1:]
        tokens = self.encoder(inputs, training=training)
        return self.errors_of(targets, tokens, counted, self.label_smoothing)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the mean over tokens."""
        return {"next_token": mean_over_tokens(embeddings["errors"], embeddings["counts"])}

    def _pairs(self, x: Any) -> dict[str, dict[str, Any]]:
        """Return source and target, each a dictionary."""
        if not isinstance(x, dict) or set(x) != set(_SIDES):
            raise ValueError(
                "Data must be a dictionary of 'source' and 'target'. "
                f"Received: {sorted(x) if isinstance(x, dict) else type(x).__name__}"
            )
        as_source = getattr(self.encoder, "as_source", as_text)
        return {"source": as_source(x["source"]), "target": as_text(x["target"])}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
