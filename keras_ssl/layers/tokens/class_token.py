"""Learned tokens beside those of the input: class token and registers."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks


class _LearnedTokens(keras.layers.Layer):
    """Learned tokens that are put behind the first `position` tokens of each example."""

    def __init__(self, count: int, position: int, initializer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.count = checks.integer("count", count, minimum=1)
        self.position = checks.integer("position", position, minimum=0)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 3:
            raise ValueError(
                "`inputs` must be tokens of shape (batch, tokens, width). Received: shape "
                f"{tuple(input_shape)}"
            )
        if input_shape[1] is not None and input_shape[1] < self.position:
            raise ValueError(
                "`position` must be at most the number of tokens. Received: "
                f"position={self.position}, inputs of shape {tuple(input_shape)}"
            )
        self.tokens = self.add_weight(
            name="tokens", shape=(self.count, input_shape[-1]), initializer=self.initializer
        )

    def call(self, inputs: Any) -> Any:
        shape = (ops.shape(inputs)[0], self.count, inputs.shape[-1])
        tokens = ops.broadcast_to(ops.cast(self.tokens, inputs.dtype)[None], shape)
        first, last = inputs[:, : self.position], inputs[:, self.position :]
        return ops.concatenate([first, tokens, last], axis=1)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of all tokens; learned ones are never padding."""
        if previous_mask is None:
            return None
        learned = ops.ones((ops.shape(previous_mask)[0], self.count), "bool")
        first, last = previous_mask[:, : self.position], previous_mask[:, self.position :]
        return ops.concatenate([first, learned, last], axis=1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        tokens = None if input_shape[1] is None else input_shape[1] + self.count
        return (input_shape[0], tokens, input_shape[-1])


@keras.saving.register_keras_serializable(package="keras_ssl")
class ClassToken(_LearnedTokens):
    """Learned token before the tokens of each example, whose output stands for all of them.

    Args:
        initializer: initializer of the token.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.

    Input shape:
        `(batch, tokens, width)`.

    Output shape:
        `(batch, tokens + 1, width)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.ClassToken()(np.ones((2, 64, 96), "float32")).shape
    TensorShape([2, 65, 96])

    Reference:
        - [Dosovitskiy et al., An Image is Worth 16x16 Words](https://arxiv.org/abs/2010.11929)
    """

    def __init__(self, initializer: Any = "zeros", **kwargs: Any):
        super().__init__(1, 0, initializer, **kwargs)

    def get_config(self) -> dict:
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "initializer": initializer}


@keras.saving.register_keras_serializable(package="keras_ssl")
class RegisterTokens(_LearnedTokens):
    """Learned tokens after the class token, which give a transformer room to store information.

    Without them, large vision transformers store global information in the tokens of background
    patches, which then no longer describe these patches.

    Args:
        count: number of registers.
        position: number of tokens before the registers: 1 for a class token.
        initializer: initializer of the registers.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.

    Input shape:
        `(batch, tokens, width)`.

    Output shape:
        `(batch, tokens + count, width)`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if `count` is not positive, or there are fewer tokens than `position`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.RegisterTokens(4)(np.ones((2, 65, 96), "float32")).shape
    TensorShape([2, 69, 96])

    Reference:
        - [Darcet et al., Vision Transformers Need Registers](https://arxiv.org/abs/2309.16588)
    """

    def __init__(
        self,
        count: int = 4,
        position: int = 1,
        initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(count, position, initializer, **kwargs)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "count": self.count,
            "position": self.position,
            "initializer": keras.initializers.serialize(self.initializer),
        }
