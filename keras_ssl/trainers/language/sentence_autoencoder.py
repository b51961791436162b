"""SentenceAutoencoder: a sentence is rebuilt from one vector of a damaged copy, TSDAE."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.trainers.language._token_model import TokenModel, as_text, mean_over_tokens
from keras_ssl.trainers.language.causal_lm import check_two_tokens
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class SentenceAutoencoder(TokenModel):
    r"""Denoising autoencoder of sentences: one vector of a damaged sentence has to rebuild it.

    Most tokens of a sentence are deleted. The encoder makes one vector of what is left, which is
    all that the decoder, a causal language model, is told:

        L = -1/M Σ_i Σ_t log p(token_i,t+1 | token_i,1 ... token_i,t, vector of the damaged text i)

    over the M tokens of the global batch, without padding and without the first.

    Args:
        encoder: network with `encode`, whose `"pooled"` is the vector, and `decode(inputs,
            context)`, such as `networks.transformer`. Its `pooling` says how the vector is made.
        deletion_ratio: how often a token is deleted. The first one of a text stays.
        seed: integer seed of deletion.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: token ids, or a dictionary.
        training: whether the encoder runs in training mode.

    Input shape:
        Integers `(batch, length)`, or a dictionary of them as `"token_ids"` and a
        `"padding_mask"`.

    Output shape:
        `(batch, width)`.

    Raises:
        TypeError: if an argument has the wrong type, or the network cannot decode.
        ValueError: if an argument is out of range; before the first step, if data are not token
            ids of the vocabulary, or have fewer than two for each text.

    Example:

    >>> import numpy as np, keras_ssl
    >>> network = keras_ssl.networks.transformer((16, 1, 2), vocabulary_size=50, pooling="class")
    >>> trainer = keras_ssl.trainers.SentenceAutoencoder(network)
    >>> trainer.compile("adam")
    >>> x = np.arange(80).reshape(10, 8) % 50
    >>> history = trainer.fit(x, batch_size=5, verbose=0)
    >>> trainer.predict(x, verbose=0).shape
    (10, 16)

    Reference:
        - [Wang et al., TSDAE](https://arxiv.org/abs/2104.06979)
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        deletion_ratio: float = 0.6,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, **kwargs)
        if not hasattr(encoder, "encode") or not hasattr(encoder, "decode"):
            raise TypeError(
                "`encoder` must be a network with `encode` and `decode`, such as "
                f"`networks.transformer`. Received: encoder={encoder}"
            )
        self.deletion_ratio = checks.probability("deletion_ratio", deletion_ratio)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def check_views(self, views: Any) -> None:
        """Raise unless texts have two tokens or more."""
        check_two_tokens(views)

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the vectors of texts."""
        return self.encoder.encode(x, training=training)["pooled"]

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the errors of the tokens of each example, and their number."""
        inputs = as_text(batch.views)
        ids = inputs["token_ids"]
        mask = inputs.get("padding_mask")
        mask = ops.ones_like(ids, dtype="bool") if mask is None else ops.cast(mask, "bool")
        vector = self.encoder.encode(self._damage(ids, mask), training=training)["pooled"]
        seen = {"token_ids": ids[:, :-1], "padding_mask": mask[:, :-1]}
        decoded = self.encoder.decode(seen, vector[:, None], training=training)
        return self.errors_of(ids[:, 1:], decoded["tokens"], mask[:, 1:])

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the mean over tokens."""
        return {"reconstruction": mean_over_tokens(embeddings["errors"], embeddings["counts"])}

    def _damage(self, ids: Any, mask: Any) -> dict[str, Any]:
        """Return texts without the tokens that are deleted: the rest moves up, before padding."""
        length = ids.shape[1]
        uniform = distribute.draw_per_example(
            lambda rows: keras.random.uniform(
                (rows, length), dtype="float32", seed=self.seed_generator
            ),
            ops.shape(ids)[0],
        )
        places = ops.arange(length, dtype="int32")[None]
        is_kept = ops.logical_or(uniform >= self.deletion_ratio, places == 0)
        is_kept = ops.logical_and(is_kept, mask)
        order = ops.argsort(ops.where(is_kept, places, places + length), axis=1)
        kept = ops.sum(ops.cast(is_kept, "int32"), axis=1, keepdims=True)
        return {
            "token_ids": ops.take_along_axis(ids, order, axis=1),
            "padding_mask": places < kept,
        }

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        config = super().get_config()
        del config["head"]
        return {**config, "deletion_ratio": self.deletion_ratio, "seed": self.seed}
