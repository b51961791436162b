"""A bidirectional recurrent encoder with attention."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers.attention import AdditiveAttentionPooling
from keras_ssl.layers.recurrent.cells import CELLS, make_cell
from keras_ssl.layers.recurrent.recurrent_layer import RecurrentLayer


@keras.saving.register_keras_serializable(package="keras_ssl")
class BidirectionalEncoder(keras.layers.Layer):
    """Bidirectional recurrent encoder: one vector per sequence, by attention over its steps.

    Recurrent layers read the sequence forwards and backwards, and `AdditiveAttentionPooling` takes
    the weighted mean of what they say of each step. The weights can be looked at. A sequence whose
    steps are all padding has a vector of zeros.

    Args:
        units: units of each direction.
        cell: `"lstm"`, `"gru"`, `"minimal_gru"` or `"rnn"`.
        depth: number of recurrent layers, each in both directions.
        attention_units: width of the hidden layer that scores the steps; `None` for `units`.
        dropout_rate: dropout of the inputs of each layer, with the same mask at all steps, and of
            the vector.
        seed: integer, or `None`; seed of dropout.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: sequences of vectors, such as those of `keras.layers.Embedding`.
        mask: booleans `(batch, time)`, `False` for padding.
        training: whether dropout is active.
        return_attention_scores: whether to return the weights of the steps after the vector.

    Input shape:
        `(batch, time, features)`.

    Output shape:
        `(batch, 2 * units)`; the weights are `(batch, time)`, with a sum of 1, or of 0 where all
        steps are padding.

    Raises:
        ValueError: if a number is out of range, the cell is unknown, or the input does not have
            rank 3.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import layers
    >>> tokens = np.array([[5, 3, 9, 0, 0], [7, 8, 9, 1, 2]])
    >>> vectors = keras.layers.Embedding(100, 16, mask_zero=True)(tokens)
    >>> vector, weights = layers.BidirectionalEncoder(8)(vectors, return_attention_scores=True)
    >>> vector.shape, [round(float(w), 3) for w in weights[0, 3:]]
    (TensorShape([2, 16]), [0.0, 0.0])

    Reference:
        - Schuster & Paliwal, Bidirectional Recurrent Neural Networks, IEEE Transactions on Signal
          Processing 45, 1997
        - Zhou et al., Attention-Based Bidirectional Long Short-Term Memory Networks for Relation
          Classification, ACL 2016
    """

    def __init__(
        self,
        units: int,
        cell: str = "lstm",
        depth: int = 1,
        attention_units: int | None = None,
        dropout_rate: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = checks.integer("units", units, minimum=1)
        if cell not in CELLS:
            raise ValueError(f"`cell` must be one of {list(CELLS)}. Received: cell={cell!r}")
        self.cell = cell
        self.depth = checks.integer("depth", depth, minimum=1)
        self.attention_units = checks.integer(
            "attention_units", attention_units, minimum=1, optional=True
        )
        self.dropout_rate = checks.below_one("dropout_rate", dropout_rate)
        self.seed = seed
        policy = self.dtype_policy
        self.dropouts = [
            keras.layers.Dropout(
                dropout_rate,
                noise_shape=(None, 1, None),
                seed=None if seed is None else seed + number,
                dtype=policy,
                name=f"dropout_{number}",
            )
            for number in range(depth)
        ]
        self.recurrent = [
            keras.layers.Bidirectional(
                RecurrentLayer(
                    make_cell(cell, units, dtype=policy), return_sequences=True, dtype=policy
                ),
                dtype=policy,
                name=f"layer_{number}",
            )
            for number in range(depth)
        ]
        self.pooling = AdditiveAttentionPooling(
            self.attention_units or units, dtype=policy, name="pooling"
        )
        self.output_dropout = keras.layers.Dropout(
            dropout_rate,
            seed=None if seed is None else seed + depth,
            dtype=policy,
            name="output_dropout",
        )

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 3:
            raise ValueError(
                "`inputs` must be sequences of shape (batch, time, features). Received: shape "
                f"{tuple(input_shape)}"
            )
        shape = tuple(input_shape)
        for layer in self.recurrent:
            layer.build(shape)
            shape = (*shape[:2], 2 * self.units)
        self.pooling.build(shape)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
    ) -> Any:
        h = inputs
        for dropout, layer in zip(self.dropouts, self.recurrent, strict=True):
            h = layer(dropout(h, training=training), mask=mask, training=training)
        vector, weights = self.pooling(h, mask=mask, return_attention_scores=True)
        vector = self.output_dropout(vector, training=training)
        return (vector, weights) if return_attention_scores else vector

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], 2 * self.units)

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
    ) -> Any:
        vector = keras.KerasTensor(self.compute_output_shape(inputs.shape), self.compute_dtype)
        if not return_attention_scores:
            return vector
        return vector, keras.KerasTensor(inputs.shape[:2], self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: there is one vector per sequence."""
        return

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "cell": self.cell,
            "depth": self.depth,
            "attention_units": self.attention_units,
            "dropout_rate": self.dropout_rate,
            "seed": self.seed,
        }
