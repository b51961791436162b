"""A model together with its tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_ssl import checks, decoding
from keras_ssl.text._texts import texts_or_ids
from keras_ssl.text.base_tokenizer import BaseTokenizer


@keras.saving.register_keras_serializable(package="keras_ssl")
class TextModel(keras.Model):
    """A model of token ids and the tokenizer that made them, saved in one `.keras` file.

    It does what the model does: it is called on, and trained with, batches of token ids. Texts go
    into `predict_texts`, and those of a language model, a translator or a captioner come out of
    `generate_texts`, `translate_texts` and `caption_images`.

    Args:
        model: any Keras model that takes `{"token_ids": ..., "padding_mask": ...}`.
        tokenizer: a `text.Tokenizer` or another one of this package.
        length: number of tokens to which texts are padded and cut; prompts are not.
        **kwargs: arguments of `keras.Model`.

    Call arguments:
        inputs: a batch of token ids, as `text.batches` gives it.
        training: whether to run in training mode.

    Input shape:
        That of `model`, `(batch, length)` for each tensor of the dictionary.

    Output shape:
        That of `model`.

    Raises:
        TypeError: if `model` or `tokenizer` is something else.

    Example:

    >>> import keras
    >>> from keras_ssl import text
    >>> tokenizer = text.VocabularyTokenizer.words(["a lovely film", "dull"])
    >>> inputs = {
    ...     "token_ids": keras.Input((8,), dtype="int32", name="token_ids"),
    ...     "padding_mask": keras.Input((8,), dtype="bool", name="padding_mask"),
    ... }
    >>> h = keras.layers.Embedding(tokenizer.vocabulary_size, 4)(inputs["token_ids"])
    >>> h = keras.layers.GlobalAveragePooling1D()(h, mask=inputs["padding_mask"])
    >>> model = text.TextModel(keras.Model(inputs, h), tokenizer, length=8)
    >>> model.predict_texts(["lovely", "a dull film"]).shape
    (2, 4)

    A language model writes:

    >>> from keras_ssl import networks
    >>> gpt = networks.gpt2((32, 2, 4), tokenizer.vocabulary_size, max_length=8)
    >>> writer = text.TextModel(gpt, tokenizer, length=8)
    >>> [written] = writer.generate_texts(["a lovely"], max_new_tokens=3)
    >>> written.startswith("a lovely")
    True
    """

    def __init__(
        self, model: keras.Model, tokenizer: BaseTokenizer, length: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for name, value, kind in (
            ("model", model, keras.Model),
            ("tokenizer", tokenizer, BaseTokenizer),
        ):
            if not isinstance(value, kind):
                raise TypeError(
                    f"`{name}` must be a {kind.__name__}. Received: {name}={value!r} of type "
                    f"{type(value).__name__}"
                )
        self.model = model
        self.tokenizer = tokenizer
        self.length = checks.integer("length", length, minimum=1)
        self.built = model.built

    def build(self, input_shape: Any = None) -> None:
        if not self.model.built:
            self.model.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.model(inputs, training=training)

    def predict_texts(
        self, texts: Iterable[str], second: Iterable[str] | None = None, batch_size: int = 32
    ) -> np.ndarray:
        """Return what the model makes of texts, or of pairs of texts.

        Args:
            texts: strings.
            second: the second texts of pairs.
            batch_size: number of texts at once.

        Returns:
            The output of `predict`, one row for each text.
        """
        network = getattr(self.model, "encoder", self.model)  # that of a tower
        has_none = getattr(network, "segments", 0) is None
        batch = self.tokenizer(texts, self.length, second, segment_ids=False if has_none else None)
        return self.predict(batch, batch_size=batch_size, verbose=0)

    def generate_texts(
        self,
        prompts: Iterable[str],
        max_new_tokens: int,
        method: decoding.DecodingMethod | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> list[str]:
        """Return texts that a language model writes, each with its prompt.

        A text ends with the tokenizer's end token, if it has one, or after `max_new_tokens`.

        Args:
            prompts: strings or their ids, each of at least one token.
            max_new_tokens: the most tokens behind each prompt.
            method: how tokens are chosen; `decoding.Greedy()` by default.
            seed: integer seed of random numbers.
            batch_size: number of texts at once; all by default.

        Returns:
            One string for each prompt.

        Raises:
            TypeError: if `prompts` are something else, or the model is no decoder.
            ValueError: if there are no prompts, one has no token, or prompt and new tokens are more
                than the model has positions for.
        """
        rows = texts_or_ids("prompts", prompts, self.tokenizer)
        return self._decode(rows, max_new_tokens, method, seed, batch_size)

    def translate_texts(
        self,
        sources: Iterable[str],
        max_new_tokens: int | None = None,
        method: decoding.DecodingMethod | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> list[str]:
        """Return the targets that an encoder-decoder, such as a translator, makes of sources.

        Sources longer than `length` tokens are cut. A target is decoded from the tokenizer's start
        token on, and ends as in `generate_texts`.

        Args:
            sources: strings, or their ids.
            max_new_tokens: the most tokens of a target; `length` by default.
            method: how tokens are chosen; `decoding.Greedy()` by default.
            seed: integer seed of random numbers.
            batch_size: number of texts at once; all by default.

        Returns:
            One string for each source.

        Raises:
            TypeError: if `sources` are something else, or the model is no decoder.
            ValueError: if there are no sources, the tokenizer has no start token, or an argument is
                out of range.
        """
        tokenizer = self.tokenizer
        context = tokenizer(
            texts_or_ids("sources", sources, tokenizer), self.length, segment_ids=False
        )
        return self._decode_targets(
            context, len(context["token_ids"]), max_new_tokens, method, seed, batch_size
        )

    def caption_images(
        self,
        images: Any,
        max_new_tokens: int | None = None,
        method: decoding.DecodingMethod | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> list[str]:
        """Return the captions that an image captioner makes of images.

        A caption is decoded from the tokenizer's start token on, and ends as in `generate_texts`.

        Args:
            images: array of images, as the model takes them.
            max_new_tokens: the most tokens of a caption; `length` by default.
            method: how tokens are chosen; `decoding.Greedy()` by default.
            seed: integer seed of random numbers.
            batch_size: number of images at once; all by default.

        Returns:
            One string for each image.

        Raises:
            TypeError: if the model is no decoder.
            ValueError: if the images do not fit, the tokenizer has no start token, or an argument
                is out of range.
        """
        return self._decode_targets(images, len(images), max_new_tokens, method, seed, batch_size)

    def _decode_targets(
        self, context: Any, count: int, max_new_tokens: int | None, *options: Any
    ) -> list[str]:
        """Return the targets of so many rows of a context, each from the start token on."""
        rows = [[self.tokenizer.start_token_id]] * count
        limit = self.length if max_new_tokens is None else max_new_tokens
        return self._decode(rows, limit, *options, context)

    def _decode(
        self,
        rows: list[Any],
        max_new_tokens: int,
        method: decoding.DecodingMethod | None,
        seed: int,
        batch_size: int | None,
        context: Any = None,
    ) -> list[str]:
        has_end = self.tokenizer.has_role("end")
        found = decoding.decode(
            self.model,
            rows,
            max_new_tokens,
            method=method,
            end_token=self.tokenizer.end_token_id if has_end else None,
            seed=seed,
            context=context,
            batch_size=batch_size,
        )
        return [
            self.tokenizer.decode(row[:length])
            for row, length in zip(found.token_ids, found.lengths, strict=True)
        ]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "length": self.length,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: Any = None) -> TextModel:
        """Make the model that `config` describes."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("model", "tokenizer")
        }
        return cls(**{**config, **parts})
