"""MaskedLM: hidden tokens are predicted from those around them, as BERT learns."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.trainers._class_labels import class_labels
from keras_ssl.trainers.language._token_model import (
    TokenModel,
    as_text,
    encode,
    mean_over_tokens,
    tokens_in,
)
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class MaskedLM(TokenModel):
    r"""Masked language model: hidden tokens are predicted from those around them, as BERT learns.

    Of the tokens of each text, a ratio is chosen, at least one. Of those, 80 % are replaced by the
    mask token, 10 % by a random token, and 10 % stay. With p the softmax of the logits of what the
    encoder makes of the text:

        L = -1/M Σ_i Σ_{t chosen} log p(token_i,t | text_i with hidden tokens)

    over the M chosen tokens of the global batch. Padding and special tokens are never chosen. With
    `word_starts`, whole words are chosen, or none of their tokens.

    With `next_sentence=True`, texts are pairs of sentences, and a second loss is the cross entropy
    of whether the second sentence follows the first one, `"is_next"` in the data.

    Args:
        encoder: layer from token ids to a vector for each token: `networks.bert`, a KerasHub
            backbone, or any other.
        mask_token_id: the token that stands for hidden ones.
        special_token_ids: the tokens that are never chosen, such as those for padding, beginning
            and end.
        mask_ratio: the part of the tokens that is chosen.
        word_starts: booleans `(vocabulary_size,)`, which tokens begin a word, such as
            `tokenizer.word_starts` of `text.Tokenizer`. Then whole words are chosen. `None` chooses
            tokens.
        next_sentence: whether pairs of sentences are classified too.
        transform: layer between the encoder and the products with the embeddings. `None` means
            BERT's: a dense layer with GELU, and layer normalization.
        head: layer from vectors to logits with an attribute `units`, in the place of `transform`
            and the embeddings.
        seed: integer seed of the choice.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: token ids, or a dictionary.
        training: whether the encoder runs in training mode.

    Input shape:
        Integers `(batch, length)`, or a dictionary of them as `"token_ids"` with any of
        `"padding_mask"`, `"segment_ids"` and `"document_ids"`, of the same shape, and `"is_next"`,
        `(batch,)`.

    Output shape:
        What the encoder returns.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range, or there is neither a tied embedding nor a head;
            before the first step, if data are not token ids of the vocabulary, or a text consists
            of special tokens alone.

    Example:

    >>> import numpy as np, keras_ssl
    >>> encoder = keras_ssl.networks.bert((16, 1, 2), 50, max_length=8, pooling="mean")
    >>> trainer = keras_ssl.trainers.MaskedLM(encoder, mask_token_id=4, special_token_ids=range(4))
    >>> trainer.compile("adam")
    >>> x = np.arange(80).reshape(10, 8) % 45 + 5
    >>> history = trainer.fit(x, batch_size=5, verbose=0)
    >>> sorted(history.history)
    ['loss']

    Reference:
        - [Devlin et al., BERT](https://arxiv.org/abs/1810.04805)
        - [Cui et al., Pre-Training with Whole Word Masking for Chinese BERT](
          https://arxiv.org/abs/1906.08101)
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        mask_token_id: int,
        special_token_ids: Sequence[int] = (),
        mask_ratio: float = 0.15,
        word_starts: Sequence[bool] | None = None,
        next_sentence: bool = False,
        transform: keras.layers.Layer | None = None,
        head: keras.layers.Layer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, head, **kwargs)
        self.mask_token_id = self.check_token("mask_token_id", mask_token_id)
        self.special_token_ids = [
            self.check_token("special_token_ids", one) for one in special_token_ids
        ]
        self.mask_ratio = checks.positive("mask_ratio", mask_ratio, maximum=1.0)
        self.word_starts = _check_words(word_starts, self.vocabulary_size)
        self.next_sentence = bool(next_sentence)
        if head is not None and transform is not None:
            raise ValueError("Expected `transform` or `head`. Received: both")
        self.transform = transform
        if head is None:
            if transform is None:
                width = encoder.token_embedding.output_dim
                self.transform = keras.Sequential(
                    [
                        keras.layers.Dense(width, "gelu"),
                        keras.layers.LayerNormalization(epsilon=1e-12),
                    ],
                    name="transform",
                )
            self.output_bias = self.add_weight(
                name="output_bias", shape=(self.vocabulary_size,), initializer="zeros"
            )
        self.sentence_head = keras.layers.Dense(2, dtype="float32") if next_sentence else None
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def to_encode(self, x: Any) -> Any:
        """Return the texts of data, without what is known of pairs."""
        if not isinstance(x, dict):
            return x
        return {name: one for name, one in x.items() if name != "is_next"}

    def check_values(self, x: Any) -> None:
        """Raise if a token id lies outside of the vocabulary, or a text has nothing to hide."""
        super().check_values(x)
        inputs = as_text(self.to_encode(x))
        ids = np.asarray(inputs["token_ids"])
        may_hide = ~np.isin(ids, self.special_token_ids)
        if "padding_mask" in inputs:
            may_hide &= np.asarray(inputs["padding_mask"]).astype(bool)
        without = np.flatnonzero(~may_hide.any(axis=1))
        if without.size:
            raise ValueError(
                "Each text must have a token that can be hidden, which is neither padding nor one "
                f"of `special_token_ids`. Received: none in {without.size} of {len(ids)}, first in "
                f"row {without[0]}"
            )

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the errors of the chosen tokens of each example, and their number."""
        inputs = as_text(batch.views)
        ids = inputs["token_ids"]
        places, weights = self._choose(inputs)
        visible = self._hide(ids, places, weights)
        outputs = encode(self.encoder, {**inputs, "token_ids": visible}, training)
        tokens = ops.take_along_axis(tokens_in(outputs, inputs), places[:, :, None], axis=1)
        if self.transform is not None:
            tokens = self.transform(tokens, training=training)
        found = self.errors_of(ops.take_along_axis(ids, places, axis=1), tokens, weights)
        if self.next_sentence:
            found["pair_errors"] = self._pair_errors(outputs["pooled"], batch.x)
        return found

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the mean over chosen tokens, and that over pairs of sentences."""
        losses = {"masked_tokens": mean_over_tokens(embeddings["errors"], embeddings["counts"])}
        if self.next_sentence:
            losses["next_sentence"] = embeddings["pair_errors"]
        return losses

    def logits_of(self, tokens: Any) -> Any:
        """Return the logits of all tokens of vectors behind `transform`."""
        logits = super().logits_of(tokens)
        return (
            logits if self.head is not None else logits + ops.cast(self.output_bias, logits.dtype)
        )

    def _pair_errors(self, pooled: Any, x: Any) -> Any:
        if not isinstance(x, dict) or "is_next" not in x:
            raise ValueError(
                "`next_sentence=True` needs 'is_next' in the data, 1 if the second sentence "
                "follows the first and else 0, as `text.next_sentence_batches` makes it. Received: "
                "data without it"
            )
        if pooled is None:
            raise ValueError(
                "`next_sentence=True` needs an encoder that returns a vector for each text, such "
                "as `networks.bert`. Received: an encoder of tokens alone"
            )
        labels, is_known, fault = class_labels(x["is_next"], 2)
        errors = ops.sparse_categorical_crossentropy(
            labels, self.sentence_head(pooled), from_logits=True
        )
        return errors * ops.cast(is_known, errors.dtype) + fault

    def _choose(self, inputs: dict[str, Any]) -> tuple[Any, Any]:
        """Return the places of chosen tokens, `(batch, places)`, and 1 or, for no token, 0.

        The number of places is that of a text without padding. Tokens, or words, have random
        scores; those with the smallest are chosen, as many as the ratio allows.
        """
        ids = inputs["token_ids"]
        length = ids.shape[1]
        may_hide = ops.ones_like(ids, dtype="bool")
        for special in self.special_token_ids:
            may_hide = ops.logical_and(may_hide, ops.not_equal(ids, special))
        if "padding_mask" in inputs:
            may_hide = ops.logical_and(may_hide, ops.cast(inputs["padding_mask"], "bool"))
        scores = self._draw(ops.shape(ids)[0], length)
        if self.word_starts is not None:
            scores = ops.take_along_axis(scores, self._word_starts(ids, may_hide), axis=1)
        scores = ops.where(may_hide, scores, 2.0)
        allowed = ops.sum(ops.cast(may_hide, "float32"), axis=1, keepdims=True) * self.mask_ratio
        allowed = ops.maximum(ops.floor(allowed + 0.5), 1.0)
        # how many tokens would be chosen if this one were: the rest of its word comes with it
        is_earlier = ops.logical_and(scores[:, None, :] <= scores[:, :, None], may_hide[:, None, :])
        would_be = ops.sum(ops.cast(is_earlier, "float32"), axis=-1)
        is_first = ops.equal(scores, ops.min(scores, axis=1, keepdims=True))
        is_chosen = ops.logical_or(would_be <= allowed, is_first)
        is_chosen = ops.logical_and(is_chosen, may_hide)
        most = max(1, int(self.mask_ratio * length + 0.5))
        found, places = ops.top_k(ops.where(is_chosen, 3.0 - scores, 0.0), most)
        return ops.cast(places, "int32"), ops.cast(found > 0, "float32")

    def _word_starts(self, ids: Any, may_hide: Any) -> Any:
        """Return the place of the first token of the word of each token."""
        places = ops.broadcast_to(ops.arange(ids.shape[1], dtype="int32")[None], ops.shape(ids))
        is_start = ops.take(ops.convert_to_tensor(self.word_starts), ids)
        # a word does not go on behind padding or a special token
        after = ops.concatenate([ops.zeros_like(may_hide[:, :1]), may_hide[:, :-1]], axis=1)
        is_start = ops.logical_or(is_start, ops.logical_not(after))
        starts = ops.where(is_start, places, 0)
        is_before = places[:1, None, :] <= places[:1, :, None]
        return ops.max(ops.where(is_before, starts[:, None, :], 0), axis=-1)

    def _hide(self, ids: Any, places: Any, weights: Any) -> Any:
        """Return token ids, of which the chosen ones are replaced as BERT replaces them."""
        count, most = ops.shape(ids)[0], places.shape[1]
        kind, draw = self._draw(count, most), self._draw(count, most)
        random = ops.cast(ops.floor(draw * self.vocabulary_size), ids.dtype)
        random = ops.minimum(random, self.vocabulary_size - 1)
        old = ops.take_along_axis(ids, places, axis=1)
        new = ops.where(kind < 0.9, random, old)
        new = ops.where(kind < 0.8, ops.cast(self.mask_token_id, ids.dtype), new)
        is_here = ops.equal(places[:, :, None], ops.arange(ids.shape[1], dtype="int32"))
        is_here = ops.logical_and(is_here, weights[:, :, None] > 0)
        replaced = ops.sum(ops.where(is_here, new[:, :, None], 0), axis=1)
        return ops.where(ops.any(is_here, axis=1), replaced, ids)

    def _draw(self, count: Any, size: int) -> Any:
        return distribute.draw_per_example(
            lambda rows: keras.random.uniform(
                (rows, size), dtype="float32", seed=self.seed_generator
            ),
            count,
        )

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        words = self.word_starts
        return {
            **super().get_config(),
            **serialize_parts(transform=self.transform),
            "mask_token_id": self.mask_token_id,
            "special_token_ids": list(self.special_token_ids),
            "mask_ratio": self.mask_ratio,
            "word_starts": None if words is None else words.tolist(),
            "next_sentence": self.next_sentence,
            "seed": self.seed,
        }


def _check_words(word_starts: Sequence[bool] | None, size: int) -> np.ndarray | None:
    if word_starts is None:
        return None
    found = np.asarray(word_starts)
    if found.dtype != bool or found.shape != (size,):
        raise ValueError(
            f"`word_starts` must hold a boolean for each token, ({size},). "
            f"Received: {found.dtype} of shape {found.shape}"
        )
    return found
