"""A model together with its tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.text.base_tokenizer import BaseTokenizer


@keras.saving.register_keras_serializable(package="keras_ssl")
class TextModel(keras.Model):
    """A model of token ids and the tokenizer that made them, saved in one `.keras` file.

    It does what the model does: it is called on, and trained with, batches of token ids. For texts
    there is `predict_texts`.

    Args:
        model: any Keras model that takes `{"token_ids": ..., "padding_mask": ...}`.
        tokenizer: a `text.Tokenizer` or another one of this package.
        length: number of tokens to which `predict_texts` pads and cuts texts.
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
        batch = self.tokenizer(texts, self.length, second)
        return self.predict(batch, batch_size=batch_size, verbose=0)

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
