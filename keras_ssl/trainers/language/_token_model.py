"""Base of methods that predict tokens of text, and what they ask of an encoder."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.parts import serialize_parts


class TokenModel(SelfSupervisedModel):
    """Base of methods that predict tokens, by the embeddings of all tokens or by a head.

    Args:
        encoder: layer from token ids to a vector for each token, `(batch, length, width)`; one of
            `networks.TextEncoder`, one of KerasHub's backbones, or any other.
        head: layer from these vectors to logits of all tokens, with an attribute `units`. `None`
            means products with `encoder.token_embedding`.
        **kwargs: `augment`, and `name`, `dtype` of the model.
    """

    view_count = 1
    learns_from = "texts"

    def __init__(
        self, encoder: keras.layers.Layer, head: keras.layers.Layer | None = None, **kwargs: Any
    ):
        super().__init__(encoder, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        if head is not None:
            check_type("head", head, keras.layers.Layer)
        self.head = head
        owner, name = (encoder, "token_embedding") if head is None else (head, "units")
        if not hasattr(owner, name):
            raise ValueError(
                "Tokens are predicted by `encoder.token_embedding`, a "
                "`keras.layers.ReversibleEmbedding`, or by a `head` with `units`, such as "
                f"`keras.layers.Dense(vocabulary_size)`. Received: {owner} without `{name}`"
            )

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        if self.head is not None:
            return self.head.units
        return self.encoder.token_embedding.input_dim

    def check_token(self, name: str, value: Any) -> int:
        """Return an argument that is a token id."""
        found = checks.integer(name, value, minimum=0)
        if found >= self.vocabulary_size:
            raise ValueError(
                f"`{name}` must be of the vocabulary of {self.vocabulary_size} tokens. "
                f"Received: {found}"
            )
        return found

    def check_views(self, views: Any) -> None:
        """Raise unless data are token ids, with masks of their shape."""
        as_text(views)

    def check_values(self, x: Any) -> None:
        """Raise if a token id lies outside of the vocabulary."""
        check_vocabulary(as_text(self.to_encode(x))["token_ids"], self.vocabulary_size)

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the encoder's output."""
        inputs = as_text(self.to_encode(x))
        return self.encoder(inputs_of(self.encoder, inputs), training=training)

    def logits_of(self, tokens: Any) -> Any:
        """Return the logits of all tokens, at least float32, of vectors `(..., width)`."""
        if self.head is not None:
            return at_least_float32(self.head(tokens))
        return at_least_float32(self.encoder.token_embedding(tokens, reverse=True))

    def errors_of(
        self, targets: Any, tokens: Any, counted: Any, label_smoothing: float = 0.0
    ) -> dict[str, Any]:
        """Return, for each example, the sum of the cross entropies of tokens, and their number.

        Args:
            targets: integers `(batch, positions)`, the tokens.
            tokens: `(batch, positions, width)`, the vectors that predict them.
            counted: `(batch, positions)`, 1 for positions that count and 0 for others.
            label_smoothing: the part of the target that all tokens share.
        """
        logits = self.logits_of(tokens)
        errors = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        if label_smoothing:
            uniform = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
            errors = errors + label_smoothing * (uniform - errors)
        counted = ops.cast(counted, errors.dtype)
        return {"errors": ops.sum(errors * counted, 1), "counts": ops.sum(counted, 1)}

    def token_errors(self, x: Any) -> tuple[Any, Any]:
        """Return what the tokens of texts cost, without training.

        Args:
            x: a batch of data.

        Returns:
            The sums of their cross entropies in nats, and their numbers, both `(batch,)`.
        """
        found = self.embed(self._make_batch((x,)), training=False)
        return found["errors"], found["counts"]

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(head=self.head)}


def mean_over_tokens(errors: Any, counts: Any) -> Any:
    """Return values per example whose mean is that over all tokens of the global batch.

    Args:
        errors: `(batch,)`, the sum of what the tokens of each example cost.
        counts: `(batch,)`, how many they are.
    """
    total = distribute.all_reduce_sum(ops.sum(counts))
    examples = ops.cast(ops.shape(errors)[0] * distribute.replica_count(), errors.dtype)
    return errors * (examples / ops.maximum(total, 1))


def check_vocabulary(ids: Any, size: int, name: str = "Token ids") -> None:
    """Raise a `ValueError` unless token ids are of a vocabulary."""
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() >= size):
        raise ValueError(
            f"{name} must lie in 0..{size - 1}, the vocabulary of the model. "
            f"Received: ids from {ids.min()} to {ids.max()}"
        )


def as_text(x: Any) -> dict[str, Any]:
    """Return data as a dictionary with `"token_ids"`.

    Raises:
        ValueError: if token ids are not integers `(batch, length)`.
    """
    inputs = dict(x) if isinstance(x, dict) else {"token_ids": x}
    ids = inputs.get("token_ids")
    shape = getattr(ids, "shape", None)
    is_integer = shape is not None and keras.backend.is_int_dtype(
        keras.backend.standardize_dtype(ids.dtype)
    )
    if not is_integer or len(shape) != 2:
        found = sorted(inputs) if ids is None else f"{getattr(ids, 'dtype', type(ids))} {shape}"
        raise ValueError(
            "Data must be integer token ids of shape (batch, length), or a dictionary with them as "
            f"'token_ids', and masks. Received: {found}"
        )
    return inputs


def encode(encoder: keras.layers.Layer, inputs: dict[str, Any], training: bool) -> dict[str, Any]:
    """Return `"tokens"`, a vector for each token, and `"pooled"`, one for each text or `None`.

    Args:
        encoder: a `networks.TextEncoder`, one of KerasHub's backbones, or a layer that maps token
            ids to a vector for each of them or for the text.
        inputs: dictionary with `"token_ids"`.
        training: whether it runs in training mode.
    """
    if hasattr(encoder, "encode"):
        return encoder.encode(inputs, training=training)
    outputs = encoder(inputs_of(encoder, inputs), training=training)
    if isinstance(outputs, dict):  # as those of KerasHub's encoders
        return {"tokens": outputs["sequence_output"], "pooled": outputs.get("pooled_output")}
    rank = len(outputs.shape)
    if rank not in (2, 3):
        raise ValueError(
            "`encoder` must return a vector for each token, (batch, length, width), or for each "
            f"text, (batch, width). Received: shape {tuple(outputs.shape)}"
        )
    return {"tokens": outputs, "pooled": None} if rank == 3 else {"tokens": None, "pooled": outputs}


def tokens_of(encoder: keras.layers.Layer, inputs: dict[str, Any], training: bool) -> Any:
    """Return a vector for each token, `(batch, length, width)`; arguments as of `encode`."""
    return tokens_in(encode(encoder, inputs, training), inputs)


def tokens_in(outputs: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """Return the vectors of tokens among what `encode` returned of inputs.

    Raises:
        ValueError: if there is not one for each token.
    """
    tokens, length = outputs["tokens"], inputs["token_ids"].shape[1]
    if tokens is None or (None not in (tokens.shape[1], length) and tokens.shape[1] != length):
        found = "one for each text" if tokens is None else f"shape {tuple(tokens.shape)}"
        raise ValueError(
            f"`encoder` must return a vector for each token, (batch, {length}, width). "
            f"Received: {found}"
        )
    return tokens


def inputs_of(encoder: keras.layers.Layer, inputs: dict[str, Any]) -> Any:
    """Return the inputs that a model names; token ids alone for a layer that names none."""
    if hasattr(encoder, "encode"):
        return inputs
    taken = getattr(encoder, "input", None) if isinstance(encoder, keras.Model) else None
    ids = inputs["token_ids"]
    names = set(taken) if isinstance(taken, dict) else {"token_ids"}
    if unused := sorted(set(inputs) - names):
        raise ValueError(
            f"`encoder` takes {sorted(names)}. Received: data with {unused}, which would be ignored"
        )
    if not isinstance(taken, dict):
        return ids
    empty = {"padding_mask": ops.ones_like, "segment_ids": ops.zeros_like}
    missing = {name: empty[name](ids) for name in names - set(inputs) if name in empty}
    return {**inputs, **missing}
