"""The masked convolutional context network of CPC."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class MaskedContext(keras.layers.Layer):
    """Masked convolutions in which a row of a grid depends on no row below it, as in CPC v2.

    The context c at row i depends on the features z of rows 0 to i. Each block extends the
    receptive field by one row above and `kernel_size // 2` columns to either side. The network is
    a chain of residual blocks, followed by a ReLU:

        c ← c + W_3 relu(V_v * (V_h * relu(W_1 c)))

    W_1 and W_3 are 1x1 convolutions, V_h is a `(1, kernel_size)` and V_v a `(2, 1)` convolution of
    a grid that is padded with a row of zeros on top. This equals a convolution whose kernel is
    masked below its middle row, without storing the masked weights.

    Args:
        blocks: positive integer: number of residual blocks, and of rows above that a row sees.
        width: positive integer: channels within a block.
        kernel_size: odd positive integer: number of columns that one block sees.
        kernel_initializer: initializer of the convolutions. Each uses a copy.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor, grids of features.

    Input shape:
        `(batch, rows, columns, features)`.

    Output shape:
        That of the input.

    Raises:
        TypeError: if an argument is not an integer.
        ValueError: if one is not positive, `kernel_size` is even, or the input does not have rank
            4 and a known number of features.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> context = layers.MaskedContext(blocks=2, width=16)
    >>> z = np.ones((1, 4, 4, 8), "float32")
    >>> before = context(z)
    >>> z[:, 2] = 5  # changes the context from row 2 on
    >>> [bool(np.allclose(before[:, i], context(z)[:, i])) for i in range(4)]
    [True, True, False, False]

    Reference:
        - [Hénaff et al., Data-Efficient Image Recognition with Contrastive Predictive
          Coding](https://arxiv.org/abs/1905.09272)
        - [van den Oord et al., Conditional Image Generation with PixelCNN
          Decoders](https://arxiv.org/abs/1606.05328)
    """

    def __init__(
        self,
        blocks: int = 5,
        width: int = 256,
        kernel_size: int = 3,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.blocks = checks.integer("blocks", blocks, minimum=1)
        self.width = checks.integer("width", width, minimum=1)
        self.kernel_size = checks.integer("kernel_size", kernel_size, minimum=1)
        if kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd. Received: kernel_size={kernel_size}")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        # here and not in `build`, since each copy may draw a seed
        self._initializers = [
            [self.kernel_initializer.clone() for _ in range(4)] for _ in range(self.blocks)
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise ValueError(
                "`inputs` must be grids of features, of shape (batch, rows, columns, features) "
                f"with a known number of features. Received: shape {tuple(input_shape)}"
            )
        self._blocks = []
        for initializers in self._initializers:
            block = [
                self._convolution(self.width, (1, 1), initializers[0], "relu"),
                self._convolution(self.width, (1, self.kernel_size), initializers[1]),
                keras.layers.ZeroPadding2D(((1, 0), (0, 0)), dtype=self.dtype_policy),
                self._convolution(self.width, (2, 1), initializers[2], "relu", padding="valid"),
                self._convolution(input_shape[-1], (1, 1), initializers[3]),
            ]
            shape = input_shape
            for layer in block:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
            self._blocks.append(block)

    def _convolution(
        self,
        filters: int,
        kernel_size: tuple[int, int],
        initializer: keras.initializers.Initializer,
        activation: str | None = None,
        padding: str = "same",
    ) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            padding=padding,
            activation=activation,
            kernel_initializer=initializer,
            dtype=self.dtype_policy,
        )

    def call(self, inputs: Any) -> Any:
        context = inputs
        for block in self._blocks:
            x = context
            for layer in block:
                x = layer(x)
            context = context + x
        return ops.relu(context)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "blocks": self.blocks,
            "width": self.width,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
