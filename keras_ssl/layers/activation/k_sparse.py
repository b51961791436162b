"""The largest activations alone."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class KSparse(keras.layers.Layer):
    """Activation that keeps the k largest of an example's units and sets the others to 0.

    Gradients flow through the units that are kept. Units that equal the k-th largest are kept too.

    Args:
        k: number of units to keep, at least 1.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: activations.

    Input shape:
        `(batch, ..., units)`; of feature maps, the k largest channels of each position are kept.

    Output shape:
        That of the input.

    Raises:
        TypeError: if `k` is not an integer.
        ValueError: if `k` is below 1, or there are not more than `k` units.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.KSparse(2)(np.array([[3, -1, 2, 0]], "float32")).numpy().tolist()
    [[3.0, 0.0, 2.0, 0.0]]

    Reference:
        - [Makhzani & Frey, k-Sparse Autoencoders](https://arxiv.org/abs/1312.5663)
    """

    def __init__(self, k: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.k = checks.integer("k", k, minimum=1)

    def build(self, input_shape: tuple) -> None:
        if input_shape[-1] is None or input_shape[-1] <= self.k:
            raise ValueError(
                f"`k` must be less than the number of units. Received: k={self.k} and inputs of "
                f"shape {tuple(input_shape)}"
            )

    def call(self, inputs: Any) -> Any:
        # the comparison has no gradient
        least = ops.min(ops.top_k(ops.stop_gradient(inputs), self.k)[0], axis=-1, keepdims=True)
        return ops.where(inputs >= least, inputs, ops.zeros_like(inputs))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "k": self.k}
