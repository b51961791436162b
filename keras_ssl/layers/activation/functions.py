"""Activations without weights whose functions in Keras lack arguments, or that Keras lacks."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class Softmin(keras.layers.Layer):
    """Softmax of the negative input: the smallest entries get the largest shares.

        y_i = exp(-x_i) / Σ_j exp(-x_j)

    It is PyTorch's `Softmin`, for instance of distances.

    Args:
        axis: axis along which the shares sum to 1.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tensor of any shape.

    Output shape:
        That of the input.

    Raises:
        TypeError: if `axis` is not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.Softmin()(np.array([[0, 1000]], "float32")).numpy().tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.axis = checks.integer("axis", axis)

    def build(self, input_shape: tuple) -> None:
        """Nothing to create: the layer has no weights."""

    def call(self, inputs: Any) -> Any:
        return keras.activations.softmax(-inputs, axis=self.axis)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "axis": self.axis}


@keras.saving.register_keras_serializable(package="keras_ssl")
class Softplus(keras.layers.Layer):
    """Smooth rectifier of any sharpness.

        y = log(1 + exp(β x)) / β

    It approaches the rectifier with growing β. `keras.activations.softplus` has β = 1. It is
    PyTorch's `Softplus`.

    Args:
        beta: β, above 0.
        threshold: the input itself is returned where β x is above this number; there the two
            differ by less than exp(-threshold) / β.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tensor of any shape.

    Output shape:
        That of the input.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if `beta` is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> y = layers.Softplus(beta=2.0)(np.array([0, 30], "float32"))
    >>> [round(float(one), 4) for one in y]  # log(2) / 2, and the input itself
    [0.3466, 30.0]

    Reference:
        - [Dugas et al., Incorporating Second-Order Functional Knowledge for Better Option
          Pricing](https://papers.nips.cc/paper/1920-incorporating-second-order-functional-knowledge-for-better-option-pricing)
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.beta = checks.positive("beta", beta)
        self.threshold = checks.number("threshold", threshold)

    def build(self, input_shape: tuple) -> None:
        """Nothing to create: the layer has no weights."""

    def call(self, inputs: Any) -> Any:
        scaled = inputs * self.beta
        return ops.where(scaled > self.threshold, inputs, ops.softplus(scaled) / self.beta)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "beta": self.beta, "threshold": self.threshold}


@keras.saving.register_keras_serializable(package="keras_ssl")
class HardTanh(keras.layers.Layer):
    """Identity between two bounds, and the bounds outside.

        y = min(max(x, min_value), max_value)

    `keras.activations.hard_tanh` has the bounds -1 and 1. It is PyTorch's `Hardtanh`. Outside the
    bounds, and at them, the gradient is 0.

    Args:
        min_value: lower bound.
        max_value: upper bound, above `min_value`.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tensor of any shape.

    Output shape:
        That of the input.

    Raises:
        TypeError: if a bound is not a number.
        ValueError: if `min_value` is not below `max_value`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.HardTanh(-2, 0.5)(np.array([-3, -1, 1], "float32")).numpy().tolist()
    [-2.0, -1.0, 0.5]
    """

    def __init__(self, min_value: float = -1.0, max_value: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.min_value = checks.number("min_value", min_value)
        self.max_value = checks.number("max_value", max_value)
        if self.min_value >= self.max_value:
            raise ValueError(
                "`min_value` must be below `max_value`. Received: "
                f"min_value={min_value}, max_value={max_value}"
            )

    def build(self, input_shape: tuple) -> None:
        """Nothing to create: the layer has no weights."""

    def call(self, inputs: Any) -> Any:
        is_between = ops.logical_and(inputs > self.min_value, inputs < self.max_value)
        # `clip` passes half of the gradient at the bounds on some backends, and all on others
        bounds = ops.clip(ops.stop_gradient(inputs), self.min_value, self.max_value)
        return ops.where(is_between, inputs, bounds)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "min_value": self.min_value,
            "max_value": self.max_value,
        }
