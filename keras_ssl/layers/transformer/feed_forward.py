"""Parts of a transformer block beside attention: feed-forward networks, residual branches."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.distribute import draw_per_example
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.transformer._gelu import (
    gelu,
    gelu_tanh,
    get_activation,
    serialize_activation,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class FeedForward(keras.layers.Layer):
    """Feed-forward network of a transformer, applied to each token, with or without a gate.

        activation(x W_1 + b_1) W_2 + b_2
        (activation(x W_1 + b_1) * (x W_3 + b_3)) W_2 + b_2    with a gate

    The gated network is SwiGLU with `"silu"` and GEGLU with `"gelu"`; its two hidden projections
    are computed as one product. With two thirds of the hidden width, it has as many weights as a
    network without a gate.

    Args:
        hidden_dim: width of the hidden layer.
        activation: activation function of the hidden layer or the gate. `"gelu"` is the exact
            function; `"gelu_tanh"` is the one of GPT-2, by a hyperbolic tangent; `"quick_gelu"` is
            that of CLIP, by a sigmoid.
        gated: whether the hidden layer is multiplied by a gate.
        output_dim: width of the output; that of the input by default.
        dropout_rate: dropout rate of the hidden layer.
        use_bias: whether to add biases.
        kernel_initializer: initializer of the kernels. Each uses a copy.
        seed: integer seed of the dropout.
        output_initializer: initializer of the kernel behind the hidden layer; `kernel_initializer`
            by default.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.
        training: whether to apply dropout.

    Input shape:
        `(..., width)`.

    Output shape:
        `(..., output_dim)`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.FeedForward(64)(np.ones((2, 10, 16), "float32")).shape
    TensorShape([2, 10, 16])
    >>> swiglu = layers.FeedForward(42, "silu", gated=True, use_bias=False)
    >>> swiglu(np.ones((2, 10, 16), "float32")).shape
    TensorShape([2, 10, 16])

    Reference:
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762)
        - [Shazeer, GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202)
    """

    def __init__(
        self,
        hidden_dim: int,
        activation: Any = "gelu",
        *,
        gated: bool = False,
        output_dim: int | None = None,
        dropout_rate: float = 0.0,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        seed: int | None = None,
        output_initializer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.hidden_dim = checks.integer("hidden_dim", hidden_dim, minimum=1)
        self.activation = get_activation(activation)
        self.gated = bool(gated)
        self.output_dim = checks.integer("output_dim", output_dim, minimum=1, optional=True)
        self.dropout_rate = checks.below_one("dropout_rate", dropout_rate)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self._initializers = [initializer_copy(self.kernel_initializer, n) for n in (1, 2, 3)]
        self.output_initializer = keras.initializers.get(output_initializer)
        if self.output_initializer is not None:
            self._initializers[2] = self.output_initializer
        self.seed = checks.integer("seed", seed, optional=True)
        self.dropout = keras.layers.Dropout(dropout_rate, seed=seed, dtype=self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        width, kernels = input_shape[-1], 1 + self.gated

        def initialize(shape: tuple, dtype: Any = None) -> Any:
            # each as if it were alone, since its scale depends on its width
            parts = [one((width, self.hidden_dim), dtype) for one in self._initializers[:kernels]]
            return ops.concatenate(parts, axis=-1)

        shared = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.hidden = keras.layers.Dense(
            kernels * self.hidden_dim, kernel_initializer=initialize, name="hidden", **shared
        )
        self.outputs = keras.layers.Dense(
            self.output_dim or width,
            kernel_initializer=self._initializers[2],
            name="outputs",
            **shared,
        )
        self.hidden.build(input_shape)
        self.outputs.build((*input_shape[:-1], self.hidden_dim))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        h = self.hidden(inputs)
        if self.gated:
            gate, values = ops.split(h, 2, axis=-1)
            h = self._activate(gate, training) * values
        else:
            h = self._activate(h, training)
        return self.outputs(self.dropout(h, training=training))

    def _activate(self, h: Any, training: bool | None) -> Any:
        if self.activation is keras.activations.gelu:
            return gelu(h, training)
        if self.activation is gelu_tanh:
            return gelu(h, training, approximate=True)
        return self.activation(h)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.output_dim or input_shape[-1])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "activation": serialize_activation(self.activation),
            "gated": self.gated,
            "output_dim": self.output_dim,
            "dropout_rate": self.dropout_rate,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "output_initializer": keras.initializers.serialize(self.output_initializer),
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class DropPath(keras.layers.Layer):
    """Stochastic depth: in training, leaves out a residual branch for some of the examples.

    Examples are left out with probability `rate`, and the others scaled by `1 / (1 - rate)`. Two
    replicas of a `tf.distribute` strategy leave out the examples that one would.

    Args:
        rate: probability, in [0, 1).
        seed: integer seed.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: outputs of a residual branch.
        training: whether to leave out any.

    Input shape:
        `(batch, ...)`.

    Output shape:
        That of the input.

    Raises:
        ValueError: if `rate` is outside [0, 1).

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> y = layers.DropPath(0.5, seed=0)(np.ones((100, 4, 2), "float32"), training=True)
    >>> sorted(set(np.array(y).ravel().tolist()))
    [0.0, 2.0]

    Reference:
        - [Huang et al., Deep Networks with Stochastic Depth](https://arxiv.org/abs/1603.09382)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.rate = checks.below_one("rate", rate)
        self.seed = checks.integer("seed", seed, optional=True)
        if rate:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple) -> None:
        """Nothing to create: the layer has no weights."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or not self.rate:
            return inputs
        ones = [1] * (len(inputs.shape) - 1)
        # the random numbers in float32: the 11 bits of float16 would shift the probability
        uniform = draw_per_example(
            lambda rows: keras.random.uniform(
                (rows, *ones), dtype="float32", seed=self.seed_generator
            ),
            ops.shape(inputs)[0],
        )
        kept = ops.cast(uniform >= self.rate, inputs.dtype)
        return inputs * kept / ops.cast(1.0 - self.rate, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_ssl")
class LayerScale(keras.layers.Layer):
    """Learned factor for each feature of a residual branch, small at the start.

    Args:
        initial_value: factor at the start.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: outputs of a residual branch.

    Input shape:
        `(..., width)`.

    Output shape:
        That of the input.

    Raises:
        TypeError: if `initial_value` is not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.LayerScale(0.5)(np.ones((1, 3), "float32"))
    <tf.Tensor: shape=(1, 3), dtype=float32, numpy=array([[0.5, 0.5, 0.5]], dtype=float32)>

    Reference:
        - [Touvron et al., Going Deeper with Image Transformers](https://arxiv.org/abs/2103.17239)
    """

    def __init__(self, initial_value: float = 1e-5, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.initial_value = checks.number("initial_value", initial_value)

    def build(self, input_shape: tuple) -> None:
        self.factors = self.add_weight(
            name="factors",
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_value),
        )

    def call(self, inputs: Any) -> Any:
        return inputs * self.factors

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "initial_value": self.initial_value}
