"""The predictor of BYOL and SimSiam: from an embedding to a guess of another one."""

from typing import Any

import keras

from keras_ssl.layers.heads.projection_head import ProjectionHead


@keras.saving.register_keras_serializable(package="keras_ssl")
class PredictionHead(keras.layers.Layer):
    """A perceptron with one hidden layer whose output is as wide as its input.

        q(z) = W_2 activation(normalization(W_1 z)) + b_2

    What BYOL and SimSiam put behind the projector of the student, to predict the projection that
    the other branch gives of the other view. It is a `ProjectionHead` whose last width need not
    be told.

    Args:
        width: positive integer: units of the hidden layer.
        normalization: as in `ProjectionHead`.
        activation: as in `ProjectionHead`.
        use_bias: as in `ProjectionHead`.
        kernel_initializer: as in `ProjectionHead`.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor of embeddings.
        training: whether batch normalisation runs in training mode.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., dim)`.

    Raises:
        ValueError: if `width` is no positive integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import PredictionHead
    >>> PredictionHead(512)(np.ones((4, 16))).shape
    TensorShape([4, 16])

    Reference:

    - [Grill et al., 2020](https://arxiv.org/abs/2006.07733) (BYOL): 4096 units
    - [Chen & He, 2020](https://arxiv.org/abs/2011.10566) (SimSiam): 512 units, a quarter of `dim`
    """

    def __init__(
        self,
        width: int = 4096,
        normalization: bool | keras.layers.Layer = True,
        activation: Any = "relu",
        use_bias: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # checks the arguments, and writes them into a configuration
        self._pattern = _settings(
            width=width,
            normalization=normalization,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
        )
        # its seed is drawn now, as that of any Keras layer, and not when the layer is built
        self._kernel_initializer = keras.initializers.get(kernel_initializer)
        self.width = width

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the two dense layers."""
        self.head = ProjectionHead.from_config(
            {
                **self._pattern,
                "widths": [self.width, input_shape[-1]],
                "kernel_initializer": _with_its_seed(self._kernel_initializer),
                "dtype": self.dtype_policy,
            }
        )
        self.head.build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.head(inputs, training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, **self._pattern}


def _with_its_seed(initializer: Any) -> Any:
    """A copy whose configuration has the seed, also where that was drawn."""
    if not isinstance(getattr(initializer, "seed", None), int):
        return initializer
    return type(initializer).from_config({**initializer.get_config(), "seed": initializer.seed})


def _settings(width: int, **arguments: Any) -> dict[str, Any]:
    config = ProjectionHead((width,), **arguments).get_config()
    return {name: config[name] for name in arguments}
