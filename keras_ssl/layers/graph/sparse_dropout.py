"""Dropout that keeps sparse features sparse."""

from typing import Any

import keras

from keras_ssl.ops.graph.sparse import (
    is_sparse,
    stored_values,
    with_values,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class SparseDropout(keras.layers.Dropout):
    """`keras.layers.Dropout` that also takes sparse tensors, of which it drops stored values.

    The result has the same distribution as dropout on the dense tensor, at the cost of the stored
    values only.

    Args:
        rate: float in [0, 1), the dropout rate.
        seed: integer seed.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: sparse or dense tensor.
        training: whether to apply dropout.

    Input shape:
        Any.

    Output shape:
        That of the input; sparse if the input is.

    Example:

    >>> import tensorflow as tf
    >>> from keras_ssl.layers.graph import SparseDropout
    >>> x = tf.sparse.from_dense([[0.0, 1.0], [2.0, 0.0]])
    >>> dropped = SparseDropout(0.5, seed=0)(x, training=True)
    >>> dropped.indices.numpy().tolist()
    [[0, 1], [1, 0]]
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)

    def get_config(self) -> dict:
        config = super().get_config()
        config.pop("noise_shape")  # for dense inputs only
        return config

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not is_sparse(inputs):
            return super().call(inputs, training=training)
        if not training or self.rate == 0:
            return inputs
        values = keras.random.dropout(stored_values(inputs), self.rate, seed=self.seed_generator)
        return with_values(inputs, values)

    def compute_output_spec(self, inputs: Any, training: bool = False) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, inputs.dtype, sparse=is_sparse(inputs))
