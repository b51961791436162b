"""Mask tokens."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_ssl")
class MaskToken(keras.layers.Layer):
    """Replacement of masked rows by a learned vector, as in masked autoencoders.

    Args:
        initializer: initializer of the mask token.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: `[x, is_masked]`.

    Input shape:
        `x` is `(..., rows, features)`, `is_masked` booleans `(..., rows)`.

    Output shape:
        That of `x`.

    Raises:
        ValueError: if the shapes do not match, or the number of features is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import MaskToken
    >>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> MaskToken()([x, np.array([False, True])]).numpy().tolist()
    [[1.0, 2.0], [0.0, 0.0]]

    Reference:
        - [Hou et al., GraphMAE](https://arxiv.org/abs/2205.10803)
        - [He et al., Masked Autoencoders Are Scalable Vision
          Learners](https://arxiv.org/abs/2111.06377)
    """

    def __init__(self, initializer: Any = "zeros", **kwargs: Any):
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: Any) -> None:
        x, is_masked = (tuple(shape) for shape in input_shape)
        fits = len(is_masked) == len(x) - 1 and all(
            None in pair or pair[0] == pair[1] for pair in zip(x, is_masked, strict=False)
        )
        if not fits or x[-1] is None:
            raise ValueError(
                "`inputs` must be [x, is_masked] of shapes (..., rows, features) and (..., rows) "
                f"with a known number of features. Received: shapes {x} and {is_masked}"
            )
        self.token = self.add_weight(
            shape=(x[-1],), initializer=self.initializer, name="mask_token"
        )

    def call(self, inputs: Any) -> Any:
        x, is_masked = inputs
        is_masked = ops.expand_dims(ops.cast(is_masked, "bool"), -1)
        return ops.where(is_masked, ops.cast(self.token, x.dtype), x)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def get_config(self) -> dict:
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "initializer": initializer}
