"""SimCSE: sentence embeddings by contrast, with dropout as the only augmentation."""

from typing import Any

import keras
from keras import ops

from keras_ssl import losses
from keras_ssl.networks.text.text_encoder import pool
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.language._token_model import as_text, check_vocabulary, encode
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch

_POOLINGS = (None, "class", "last", "mean")
_TRIPLE = ("anchor", "positive", "negative")


@keras.saving.register_keras_serializable(package="keras_ssl")
class SimCSE(SelfSupervisedModel):
    r"""SimCSE: sentence embeddings by contrast, with dropout as the only augmentation.

    A sentence goes through the encoder twice. Dropout makes two vectors z and z' of it, which
    should be nearer to each other than to those of other sentences:

        L = -1/n Σ_i log( exp(cos(z_i, z'_i) / τ) / Σ_j exp(cos(z_i, z'_j) / τ) )

    Labelled data are dictionaries of sentences `"anchor"` and `"positive"`, and at will
    `"negative"`, sentences that look like the anchors and mean something else. Then z' are the
    vectors of the positives, and the sum is also over those of the negatives.

    In evaluation there is no dropout. Both vectors of a sentence are then the same, and the loss
    tells how far apart the sentences of a batch are; of labelled data it compares as in training.

    Args:
        encoder: layer from token ids to vectors, with dropout: `networks.bert`, a KerasHub
            backbone, or any other.
        pooling: how a text's vector is made: `None` takes what the encoder returns for texts, the
            `"pooled"` of our networks; `"class"` the vector of the first token, `"last"` that of
            the last one that is no padding, `"mean"` their mean.
        projector: layer behind the encoder in training, or `None`.
        loss: contrastive loss of two batches of vectors. `None` means the paper's,
            `losses.InfoNCE(0.05)`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: token ids, a dictionary of them and masks, or labelled data, of which the anchors are
            taken.
        training: whether the encoder runs in training mode.

    Input shape:
        Integers `(batch, length)`, a dictionary of them as `"token_ids"` with any of
        `"padding_mask"` and `"segment_ids"`, or a dictionary of several of these.

    Output shape:
        `(batch, width)`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `pooling` is unknown; before the first step, if data are not token ids of
            the vocabulary, or the encoder returns no vector for each text and there is no
            `pooling`.

    Example:

    >>> import numpy as np, keras_ssl
    >>> encoder = keras_ssl.networks.bert((16, 1, 2), vocabulary_size=50, max_length=8)
    >>> trainer = keras_ssl.trainers.SimCSE(encoder)
    >>> trainer.compile("adam")
    >>> x = np.arange(80).reshape(10, 8) % 50
    >>> history = trainer.fit(x, batch_size=5, verbose=0)
    >>> trainer.predict(x, verbose=0).shape
    (10, 16)

    Reference:
        - [Gao et al., SimCSE](https://arxiv.org/abs/2104.08821)
    """

    minimum_batch = 2
    view_count = 1
    learns_from = "texts"

    def __init__(
        self,
        encoder: keras.layers.Layer,
        pooling: str | None = None,
        projector: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        if pooling not in _POOLINGS:
            raise ValueError(
                f"`pooling` must be one of {list(_POOLINGS)}. Received: pooling={pooling!r}"
            )
        self.pooling = pooling
        if projector is not None:
            check_type("projector", projector, keras.layers.Layer)
        self.projector = projector
        self.loss_function = losses.InfoNCE(0.05) if loss is None else loss
        check_type("loss", self.loss_function, keras.losses.Loss)

    def check_views(self, views: Any) -> None:
        """Raise unless data are token ids, alone or by the names of labelled ones."""
        for one in _texts(views).values():
            as_text(one)

    def check_values(self, x: Any) -> None:
        """Raise if a token id lies outside of the vocabulary, where the encoder tells it."""
        embedding = getattr(self.encoder, "token_embedding", None)
        size = getattr(self.encoder, "vocabulary_size", getattr(embedding, "input_dim", None))
        for one in _texts(x).values() if size is not None else ():
            check_vocabulary(as_text(one)["token_ids"], size)

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the vectors of texts, of labelled data those of the anchors."""
        return self._encode(_texts(x)["anchor"], training)

    def _encode(self, x: Any, training: bool) -> Any:
        inputs = as_text(x)
        outputs = encode(self.encoder, inputs, training)
        if self.pooling is None and outputs["pooled"] is None:
            raise ValueError(
                "`encoder` returns vectors of tokens alone. Expected a `pooling` of them, 'class', "
                "'last' or 'mean', or an encoder that returns a vector for each text. "
                "Received: pooling=None"
            )
        if self.pooling is None:
            return outputs["pooled"]
        if outputs["tokens"] is None:
            raise ValueError(
                "`pooling` needs vectors of tokens. Expected pooling=None for an encoder that "
                f"returns a vector for each text. Received: pooling={self.pooling!r}"
            )
        mask = inputs.get("padding_mask")
        mask = None if mask is None else ops.cast(mask, "bool")
        return pool(outputs["tokens"], mask, self.pooling)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return two vectors of each sentence, or those of the labelled ones."""
        texts = _texts(batch.views)
        if len(texts) == 1:
            texts["positive"] = texts["anchor"]
        features = {name: self._encode(one, training) for name, one in texts.items()}
        found = dict(features)
        if self.projector is not None:
            found = {name: self.projector(z, training=training) for name, z in features.items()}
        return {**found, "representation": features["anchor"]}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the contrastive loss of the vectors."""
        anchor, positive = embeddings["anchor"], embeddings["positive"]
        others = {}
        if "negative" in embeddings:
            others["hard_negatives"] = embeddings["negative"]
        return {"contrastive": self.loss_function(anchor, positive, **others)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(projector=self.projector, loss=self.loss_function)
        return {**super().get_config(), **parts, "pooling": self.pooling}


def _texts(x: Any) -> dict[str, Any]:
    """Return texts by the names of labelled data; of others, all as `"anchor"`."""
    if not isinstance(x, dict) or "token_ids" in x:
        return {"anchor": x}
    if set(x) - set(_TRIPLE) or not {"anchor", "positive"} <= set(x):
        raise ValueError(
            "Data must be token ids, a dictionary with 'token_ids', or one with 'anchor', "
            f"'positive' and at will 'negative'. Received: {sorted(x)}"
        )
    return dict(x)
