"""Linear map to targets whose width the data tells."""

from typing import Any

import keras

from keras_ssl.ops import at_least_float32


@keras.saving.register_keras_serializable(package="keras_ssl")
class LinearToTargets(keras.layers.Layer):
    """Linear map of tokens to vectors as wide as those that they predict.

    The number of outputs is that of the targets, which is known once the data is: pixels of images
    with any number of channels, or the width of any encoder.

    Args:
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        # here and not in `build`, since it draws a seed
        self._initializer = keras.initializers.GlorotUniform()

    def build(self, tokens_shape: tuple, targets_shape: tuple) -> None:
        self.dense = keras.layers.Dense(
            targets_shape[-1],
            kernel_initializer=self._initializer,
            dtype=self.dtype_policy,
            name="dense",
        )
        self.dense.build(tokens_shape)

    def call(self, tokens: Any, targets: Any) -> Any:
        return at_least_float32(self.dense(tokens))

    def compute_output_spec(self, tokens: Any, targets: Any) -> Any:
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        return keras.KerasTensor((*tokens.shape[:-1], targets.shape[-1]), dtype)
