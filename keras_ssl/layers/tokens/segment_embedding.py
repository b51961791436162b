"""Embeddings of segments."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class SegmentEmbedding(keras.layers.Layer):
    """One learned vector for each segment, added to the tokens, as in BERT.

    A segment is one of the sentences that are one sequence, such as question and answer.

    Args:
        segments: number of segments.
        initializer: initializer of the vectors.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.
        segment_ids: integers `(batch, tokens)` from 0, the segment of each token; by default, all
            are of segment 0.

    Input shape:
        `(batch, tokens, width)`.

    Output shape:
        That of the input.

    Raises:
        TypeError: if `segments` is not an integer.
        ValueError: if `segments` is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> embedding = layers.SegmentEmbedding(2, initializer="ones")
    >>> x = np.zeros((1, 3, 2), "float32")
    >>> embedding(x, segment_ids=np.array([[0, 0, 1]])).numpy().tolist()
    [[[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]]

    Reference:
        - [Devlin et al., BERT](https://arxiv.org/abs/1810.04805)
    """

    def __init__(self, segments: int = 2, initializer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.segments = checks.integer("segments", segments, minimum=1)
        if initializer is None:
            initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: tuple) -> None:
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.segments, input_shape[-1]), initializer=self.initializer
        )

    def call(self, inputs: Any, segment_ids: Any = None) -> Any:
        vectors = ops.cast(self.embeddings, inputs.dtype)
        if segment_ids is None:
            return inputs + vectors[0]
        return inputs + ops.take(vectors, ops.cast(segment_ids, "int32"), axis=0)

    def compute_output_shape(self, input_shape: tuple, **kwargs: Any) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "segments": self.segments,
            "initializer": keras.initializers.serialize(self.initializer),
        }
