"""Classifiers on encoders of text: of sentences and pairs, of tokens, and of spans."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.networks.text.text_encoder import TextEncoder


class _Head(keras.Model):
    """Base of heads: an encoder, dropout of its features, and a dense layer.

    Args:
        encoder: a `networks.TextEncoder`, which is trained too unless its `trainable` is `False`.
        outputs: number of outputs of the dense layer.
        dropout_rate: dropout rate of the features.
        seed: integer seed of the dropout and the dense layer.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        outputs: int,
        dropout_rate: float,
        seed: int | None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not isinstance(encoder, TextEncoder):
            raise TypeError(
                "`encoder` must be a `keras_ssl.networks.TextEncoder`, such as "
                f"`networks.bert(...)`. Received: encoder={encoder!r} of type {type(encoder)}"
            )
        self.encoder = encoder
        self.dropout_rate = checks.below_one("dropout_rate", dropout_rate)
        self.seed = checks.integer("seed", seed, optional=True)
        small = keras.initializers.TruncatedNormal(stddev=0.02, seed=self.seed)
        self.dropout = keras.layers.Dropout(dropout_rate, seed=seed, dtype=self.dtype_policy)
        self.classifier = keras.layers.Dense(
            outputs,
            kernel_initializer=initializer_copy(small, 1),
            name="classifier",
            dtype=self.dtype_policy,
        )
        self.classifier.build((None, encoder.width))
        self.built = True

    def build(self, input_shape: Any) -> None:
        self.built = True

    def _classify(self, inputs: Any, name: str, training: bool | None) -> Any:
        features = self.encoder.encode(inputs, training=training)[name]
        return self.classifier(self.dropout(features, training=training))

    def get_config(self) -> dict:
        return {
            **keras.layers.Layer.get_config(self),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "dropout_rate": self.dropout_rate,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "_Head":
        encoder = keras.saving.deserialize_keras_object(
            config["encoder"], custom_objects=custom_objects
        )
        return cls(**{**config, "encoder": encoder})


class _Classifier(_Head):
    """Base of heads whose number of outputs is an argument, `classes`."""

    def __init__(
        self,
        encoder: TextEncoder,
        classes: int,
        dropout_rate: float = 0.1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        count = checks.integer("classes", classes, minimum=1)
        super().__init__(encoder, count, dropout_rate, seed, **kwargs)
        self.classes = count

    def get_config(self) -> dict:
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable(package="keras_ssl")
class SentenceClassifier(_Classifier):
    """Classifier of sentences or of pairs of sentences, on an encoder's pooled features.

    A pair is one sequence, in BERT `[CLS] one [SEP] other [SEP]`, whose `"segment_ids"` are 0 in
    the first sentence and 1 in the second one.

    Args:
        encoder: a `networks.TextEncoder`, such as a trained `networks.bert`.
        classes: number of logits; 1 for a regression, such as a similarity.
        dropout_rate: dropout rate of the features.
        seed: integer seed of dropout and initial weights.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: as of the encoder.
        training: whether to apply dropout.

    Input shape:
        Integers `(batch, length)`.

    Output shape:
        Logits `(batch, classes)`.

    Raises:
        TypeError: if `encoder` is none.
        ValueError: if a number is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.bert((32, 2, 4), vocabulary_size=100, max_length=16)
    >>> model = networks.SentenceClassifier(encoder, classes=3)
    >>> pairs = {"token_ids": np.ones((2, 6), "int32"), "segment_ids": [[0, 0, 0, 1, 1, 1]] * 2}
    >>> model({name: np.array(one) for name, one in pairs.items()}).shape
    TensorShape([2, 3])

    Reference:
        - [Devlin et al., BERT](https://arxiv.org/abs/1810.04805)
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self._classify(inputs, "pooled", training)


@keras.saving.register_keras_serializable(package="keras_ssl")
class TokenClassifier(_Classifier):
    """Classifier of each token, such as by parts of speech or named entities (tags).

    Args:
        encoder: a `networks.TextEncoder`, such as a trained `networks.bert`, or a
            `networks.RecurrentEncoder`, whose tags are those of a Bi-LSTM.
        classes: number of logits.
        dropout_rate: dropout rate of the features.
        seed: integer seed of dropout and initial weights.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: as of the encoder.
        training: whether to apply dropout.

    Input shape:
        Integers `(batch, length)`.

    Output shape:
        Logits `(batch, length, classes)`.

    Raises:
        TypeError: if `encoder` is none.
        ValueError: if a number is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.bert((32, 2, 4), vocabulary_size=100, max_length=16)
    >>> networks.TokenClassifier(encoder, classes=9)(np.ones((2, 6), "int32")).shape
    TensorShape([2, 6, 9])

    Reference:
        - [Devlin et al., BERT](https://arxiv.org/abs/1810.04805)
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self._classify(inputs, "tokens", training)


@keras.saving.register_keras_serializable(package="keras_ssl")
class SpanClassifier(_Head):
    """Finds a span of tokens, such as the answer to a question: logits of its start and its end.

    Question and text are one sequence, whose `"segment_ids"` are 0 in the question and 1 in the
    text. Logits of padding are the lowest numbers, so a softmax over the tokens gives it nothing.

    Args:
        encoder: a `networks.TextEncoder`, such as a trained `networks.bert`.
        dropout_rate: dropout rate of the features.
        seed: integer seed of dropout and initial weights.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: as of the encoder.
        training: whether to apply dropout.

    Input shape:
        Integers `(batch, length)`.

    Output shape:
        Dictionary of the logits `"start"` and `"end"`, float32 `(batch, length)`.

    Raises:
        TypeError: if `encoder` is none.
        ValueError: if a number is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.bert((32, 2, 4), vocabulary_size=100, max_length=16)
    >>> model = networks.SpanClassifier(encoder)
    >>> logits = model(np.ones((2, 6), "int32"))
    >>> logits["start"].shape, logits["end"].shape
    (TensorShape([2, 6]), TensorShape([2, 6]))

    Reference:
        - [Devlin et al., BERT](https://arxiv.org/abs/1810.04805)
    """

    def __init__(
        self,
        encoder: TextEncoder,
        dropout_rate: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, 2, dropout_rate, seed, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        logits = ops.cast(self._classify(inputs, "tokens", training), "float32")
        mask = self.encoder.read(inputs).padding_mask
        if mask is not None:
            logits = ops.where(mask[:, :, None], logits, float(np.finfo("float32").min) / 2)
        return {"start": logits[..., 0], "end": logits[..., 1]}
