"""Dense layer whose weights are the output of a network."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.dense._checks import check_last_axis


@keras.saving.register_keras_serializable(package="keras_ssl")
class HyperDense(keras.layers.Layer):
    """Dense layer of each example, whose weights a hypernetwork computes from a condition.

        y = activation(x W(c) + b(c))

    W and b are linear in h = network(c), or in the condition c itself without a network.

    Args:
        units: number of outputs.
        network: layer or model that maps conditions to features h `(batch, features)`, or `None`.
        activation: activation function of the output.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of the map from h to W. With the default, entries of W have
            a variance of 1 / dim if those of h have the variance 1, so that outputs vary as inputs
            do.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: x.
        condition: c, one per example.
        training: passed to a network that takes it.

    Input shape:
        `(batch, ..., dim)`, and what the network takes, or `(batch, features)` without a network.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        TypeError: if `units` is not an integer, or `network` not a layer.
        ValueError: if `units` is below 1, a last axis is unknown, or features h are not
            `(batch, features)`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import layers
    >>> layer = layers.HyperDense(8, network=keras.layers.Dense(16, "relu"))
    >>> layer(np.ones((2, 5, 4), "float32"), np.ones((2, 3), "float32")).shape
    TensorShape([2, 5, 8])

    Reference:
        - [Ha et al., HyperNetworks](https://arxiv.org/abs/1609.09106)
        - [Chang et al., Principled Weight Initialization for
          Hypernetworks](https://arxiv.org/abs/2312.08399): the scale of the weights
    """

    def __init__(
        self,
        units: int,
        network: keras.layers.Layer | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = checks.integer("units", units, minimum=1)
        if network is not None and not isinstance(network, keras.layers.Layer):
            raise TypeError(
                "`network` must be a Keras layer or `None`. "
                f"Received: network={network!r} of type {type(network).__name__}"
            )
        self.network = network
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, inputs_shape: tuple, condition_shape: tuple) -> None:
        self.dim = check_last_axis(inputs_shape)
        features_shape = condition_shape
        if self.network is not None:
            if not self.network.built:
                self.network.build(condition_shape)
            features_shape = self.network.compute_output_shape(condition_shape)
        if len(features_shape) != 2 or features_shape[-1] is None:
            raise ValueError(
                "`condition`, or what `network` makes of it, must have shape (batch, features). "
                f"Received: shape {tuple(features_shape)}"
            )
        initializer = self.kernel_initializer
        if initializer is None:
            initializer = keras.initializers.VarianceScaling(1 / self.dim, distribution="normal")
        self.kernel_of = keras.layers.Dense(
            self.dim * self.units,
            kernel_initializer=initializer,
            use_bias=False,
            dtype=self.dtype_policy,
            name="kernel_of",
        )
        self.kernel_of.build(features_shape)
        self.bias_of = None
        if self.use_bias:
            self.bias_of = keras.layers.Dense(
                self.units, kernel_initializer="zeros", dtype=self.dtype_policy, name="bias_of"
            )
            self.bias_of.build(features_shape)

    def call(self, inputs: Any, condition: Any, training: bool | None = None) -> Any:
        # Keras passes `training` on to the network
        h = condition if self.network is None else self.network(condition)
        rows = ops.shape(inputs)
        flat = ops.reshape(inputs, (rows[0], -1, self.dim))
        y = ops.matmul(flat, ops.reshape(self.kernel_of(h), (-1, self.dim, self.units)))
        if self.bias_of is not None:
            y = y + self.bias_of(h)[:, None]
        return self.activation(ops.reshape(y, (*rows[:-1], self.units)))

    def compute_output_shape(self, inputs_shape: tuple, condition_shape: tuple) -> tuple:
        return (*inputs_shape[:-1], self.units)

    def get_config(self) -> dict:
        network = self.network
        return {
            **super().get_config(),
            "units": self.units,
            "network": None if network is None else keras.saving.serialize_keras_object(network),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    @classmethod
    def from_config(cls, config: dict) -> "HyperDense":
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})
