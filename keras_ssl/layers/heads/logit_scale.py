"""Learned scale of similarities, from which logits are made."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class LogitScale(keras.layers.Layer):
    r"""Learned temperature of similarities, and at will a bias.

        logits = exp(s) x + b

    s starts at log(1 / temperature). As in CLIP, exp(s) is cut to `max_scale` behind each update,
    without which training becomes unstable. Both weights are float32 in any precision. They should
    have no weight decay: pass `exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY` to `compile`.

    Args:
        temperature: 1 / exp(s) at the start, above 0; 0.07 in CLIP, 0.1 in SigLIP.
        max_scale: the largest exp(s), or `None` for no limit.
        bias: b at the start, or `None` for no bias; -10 in SigLIP.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: similarities, such as cosines.

    Input shape:
        Any.

    Output shape:
        The same; at least float32.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if `temperature` or `max_scale` is not positive, or 1 / `temperature` is above
            `max_scale`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> scale = layers.LogitScale(temperature=0.1)
    >>> scale(np.array([1.0, -0.5])).numpy().round(4).tolist()
    [10.0, -5.0]
    >>> round(float(scale.temperature), 4)
    0.1

    Reference:
        - [Radford et al., Learning Transferable Visual Models From Natural Language
          Supervision](https://arxiv.org/abs/2103.00020), section 2.5
        - [Zhai et al., Sigmoid Loss for Language Image Pre-Training](
          https://arxiv.org/abs/2303.15343): the bias
    """

    def __init__(
        self,
        temperature: float = 0.07,
        max_scale: float | None = 100.0,
        bias: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._first_temperature = checks.positive("temperature", temperature)
        self.max_scale = None if max_scale is None else checks.positive("max_scale", max_scale)
        if self.max_scale is not None and 1 / self._first_temperature > self.max_scale * (1 + 1e-6):
            raise ValueError(
                f"`temperature` must be at least 1 / max_scale = {1 / self.max_scale:g}. "
                f"Received: temperature={temperature}, max_scale={max_scale}"
            )
        self._first_bias = None if bias is None else checks.number("bias", bias)
        # of one shape whatever the inputs are, so that a loss can read it before any call
        scalar = {"shape": (), "dtype": "float32", "autocast": False, "aggregation": "mean"}
        self.log_scale = self.add_weight(
            name="log_scale",
            initializer=keras.initializers.Constant(-math.log(self._first_temperature)),
            constraint=None if self.max_scale is None else _AtMost(math.log(self.max_scale)),
            **scalar,
        )
        self.bias = None
        if bias is not None:
            self.bias = self.add_weight(
                name="bias", initializer=keras.initializers.Constant(bias), **scalar
            )

    def build(self, input_shape: Any) -> None:
        self.built = True

    @property
    def temperature(self) -> Any:
        """The temperature now, a float32 scalar tensor."""
        return ops.exp(-self.log_scale)

    def loss_arguments(self) -> dict[str, Any]:
        """Return `temperature`, and `bias` if there is one, as losses take them."""
        arguments = {"temperature": self.temperature}
        if self.bias is not None:
            arguments["bias"] = ops.convert_to_tensor(self.bias)
        return arguments

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        logits = x * ops.cast(ops.exp(self.log_scale), x.dtype)
        return logits if self.bias is None else logits + ops.cast(self.bias, x.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def compute_output_spec(self, inputs: Any) -> Any:
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        return keras.KerasTensor(inputs.shape, dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "temperature": self._first_temperature,
            "max_scale": self.max_scale,
            "bias": self._first_bias,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class _AtMost(keras.constraints.Constraint):
    """Values that are at most a number."""

    def __init__(self, maximum: float):
        self.maximum = maximum

    def __call__(self, value: Any) -> Any:
        return ops.minimum(value, self.maximum)

    def get_config(self) -> dict:
        return {"maximum": self.maximum}
