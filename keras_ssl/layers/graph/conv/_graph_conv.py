"""What graph convolutions with dense kernels share."""

import numbers
from typing import Any

import keras
from keras import ops

from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.graph.conv.message_passing import MessagePassing


class GraphConv(MessagePassing):
    """Base of convolutions on graphs: kernels, a bias and an activation, as `keras.layers.Dense`.

    Subclasses make kernels by `add_kernel`, the bias by `add_bias`, and end with `finish`.

    Args:
        channels: number of features that a node has afterwards.
        activation: activation function.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of the kernels.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernels.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the kernels.
        bias_constraint: constraint of the bias.
        **kwargs: `aggregation`; `name`, `dtype`, `activity_regularizer` and the like of
            `keras.layers.Layer`.

    Raises:
        ValueError: if `channels` is not a positive integer.
    """

    def __init__(
        self,
        channels: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.channels = positive_integer("channels", channels)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.bias = None
        self._kernels = 0

    def add_kernel(self, shape: tuple[int, ...], name: str = "kernel") -> keras.Variable:
        """Make a kernel; of an initializer with a seed, the n-th adds n - 1 to it.

        Args:
            shape: its shape.
            name: its name.

        Returns:
            The variable.
        """
        initializer = initializer_copy(self.kernel_initializer, self._kernels + 1)
        seed = getattr(self.kernel_initializer, "seed", None)
        if isinstance(seed, int):
            # one that was not given was drawn with the layer: not again here, at some later time
            initializer.seed = seed + self._kernels
        self._kernels += 1
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name=name,
        )

    def add_bias(self, width: int) -> None:
        """Make the bias, if there is one.

        Args:
            width: how many numbers it holds.
        """
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(width,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def finish(self, h: Any) -> Any:
        """Add the bias and apply the activation.

        Args:
            h: `(..., nodes, channels)`.

        Returns:
            The same shape.
        """
        if self.bias is not None:
            h = ops.add(h, self.bias)
        return self.activation(h)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "channels": self.channels,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }


def positive_integer(name: str, value: Any) -> int:
    """Return `value` if it is a positive integer.

    Args:
        name: the argument's name.
        value: what it got; NumPy's integers are some.

    Returns:
        The integer, as Python's.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {value!r}")
    return int(value)
