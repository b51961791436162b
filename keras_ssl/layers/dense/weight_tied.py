"""Dense layer that shares the weights of another."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_ssl")
class WeightTied(keras.layers.Layer):
    """Decoder that is tied to a dense layer: its kernel is the transposed kernel of that layer.

        x' = activation(y W^T + b)

    with W the kernel of the given layer, which both train, and b a bias of its own. An autoencoder
    of tied layers has half of the weights. For tokens, `keras.layers.ReversibleEmbedding` is the
    tied layer.

    Args:
        layer: the `keras.layers.Dense` whose kernel is shared. It must be built, by `build` or by
            a call, before this layer is.
        activation: activation function of the output.
        use_bias: whether to add a bias.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: outputs of the given layer, or of what follows it with the same width.

    Input shape:
        `(batch, ..., units of the layer)`.

    Output shape:
        `(batch, ..., dim)`, dim the width of the layer's input.

    Raises:
        TypeError: if `layer` is not a `keras.layers.Dense`.
        ValueError: if `layer` is not built, or the width of the inputs is not its number of units.

    Example:

    >>> import keras
    >>> from keras_ssl import layers
    >>> encode = keras.layers.Dense(16, "relu")
    >>> x = keras.Input((64,))
    >>> y = layers.WeightTied(encode)(encode(x))
    >>> model = keras.Model(x, y)
    >>> y.shape, model.count_params()  # 64 * 16, and the biases 16 and 64
    ((None, 64), 1104)

    Reference:
        - [Vincent et al., Stacked Denoising Autoencoders](https://www.jmlr.org/papers/v11/vincent10a.html)
    """

    def __init__(
        self,
        layer: keras.layers.Dense,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not isinstance(layer, keras.layers.Dense):
            raise TypeError(
                "`layer` must be a keras.layers.Dense. "
                f"Received: layer={layer!r} of type {type(layer).__name__}"
            )
        self.supports_masking = True
        self.layer = layer
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)

    def build(self, input_shape: tuple) -> None:
        if not self.layer.built:
            raise ValueError(
                "`layer` must be built before the layer that is tied to it: call it first. "
                f"Received: layer={self.layer.name!r}, not built"
            )
        if input_shape[-1] != self.layer.units:
            raise ValueError(
                "The width of the inputs must be the number of units of `layer`. Received: inputs "
                f"of shape {tuple(input_shape)}, layer.units={self.layer.units}"
            )
        self.bias = None
        if self.use_bias:
            dim = self.layer.kernel.shape[0]
            self.bias = self.add_weight(name="bias", shape=(dim,), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        kernel = ops.cast(self.layer.kernel, inputs.dtype)
        y = ops.matmul(inputs, ops.transpose(kernel))
        return self.activation(y if self.bias is None else y + self.bias)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.layer.kernel.shape[0])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }

    @classmethod
    def from_config(cls, config: dict) -> "WeightTied":
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})
