"""Rows of a table of weights, read without the rest of it."""

from typing import Any

import keras
from keras import ops

_TENSORFLOW = keras.backend.backend() == "tensorflow"
if _TENSORFLOW:
    import tensorflow as tf


class RowsEmbedding(keras.layers.Embedding):
    """`keras.layers.Embedding` whose step costs as much as the rows that it reads.

    `ops.take` reads the whole variable first. TensorFlow copies it for that, once an optimizer has
    updated single rows of it. With 65,000 rows of 100 numbers, a copy takes longer than a step.
    """

    def call(self, inputs: Any) -> Any:
        table = self.embeddings
        if not _TENSORFLOW or not isinstance(
            table, keras.Variable
        ):  # LoRA's sum, or quantized rows
            return super().call(inputs)
        rows = tf.nn.embedding_lookup(table.value, ops.cast(inputs, "int32"))
        return ops.cast(rows, self.compute_dtype)
