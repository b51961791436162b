"""Centring of scores: by a moving mean, or so that all prototypes are used equally."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.ops import balanced_log_assignments
from keras_ssl.ops.schedules import serialize, value_now


@keras.saving.register_keras_serializable(package="keras_ssl")
class Center(keras.layers.Layer):
    """Subtraction of a moving mean, the centring of DINO's teacher.

    The output is `inputs - c`. In training, the centre c is updated afterwards,

        c ← m c + (1 - m) mean(inputs)

    with momentum m and the mean over all axes but the last and over all replicas, so that c is
    equal on all replicas. It starts at 0, is saved with the model and has no gradient. It changes
    at every call, so call the layer once per step, with all views in one tensor.

    Unlike in batch normalization, the mean subtracted in training is that of earlier batches.

    Args:
        momentum: float in [0, 1).
        **kwargs: arguments of `keras.layers.Layer`. Unless `dtype` is given, the layer computes in
            `keras.config.floatx()`, at least float32, whatever the policy, because the teacher's
            temperature multiplies rounding errors by 25.

    Call arguments:
        inputs: float tensor of rank 2 or more.
        training: whether to update the centre.

    Input shape:
        `(..., features)`.

    Output shape:
        That of the input.

    Raises:
        TypeError: if `momentum` is not a number.
        ValueError: if `momentum` is outside [0, 1), or the last axis of the input is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> center = layers.Center(momentum=0.5)
    >>> scores = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    >>> center(scores, training=True)[0].numpy()  # the centre is still 0
    array([1., 2.], dtype=float32)
    >>> center(scores)[0].numpy()  # minus 0.5 * (2, 3)
    array([0. , 0.5], dtype=float32)

    Reference:
        - [Caron et al., Emerging Properties in Self-Supervised Vision
          Transformers](https://arxiv.org/abs/2104.14294)
    """

    def __init__(self, momentum: float = 0.9, **kwargs: Any):
        momentum = checks.below_one("momentum", momentum)
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = keras.backend.result_type(keras.config.floatx(), "float32")
        super().__init__(**kwargs)
        self.momentum = momentum
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "`inputs` must have rank 2 or more and a known number of features. "
                f"Received: inputs.shape={tuple(input_shape)}"
            )
        self.center = self.add_weight(
            shape=(input_shape[-1],),
            initializer="zeros",
            trainable=False,
            autocast=False,
            # equal on all replicas already
            aggregation="only_first_replica",
            name="center",
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        outputs = inputs - ops.cast(self.center, inputs.dtype)
        if training:
            x = ops.stop_gradient(ops.cast(inputs, self.variable_dtype))
            mean = ops.mean(x, axis=tuple(range(len(inputs.shape) - 1)))
            mean = distribute.all_reduce_sum(mean) / distribute.replica_count()
            self.center.assign(self.momentum * self.center + (1 - self.momentum) * mean)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}


@keras.saving.register_keras_serializable(package="keras_ssl")
class SinkhornCenter(keras.layers.Layer):
    """Centring by the Sinkhorn-Knopp algorithm, which makes a batch use all prototypes equally.

    The outputs g are scores whose distributions are the assignments Q of the inputs s,

        softmax(g / τ) = Q = sinkhorn_knopp(s, epsilon=τ)

    with τ the temperature of the teacher. In effect, from each prototype's scores a number is
    subtracted, as by `layers.Center`, that depends on the scores of this batch over all replicas.
    The layer has no state. DINOv2's teacher and, in other forms, SwAV are centred so.

    Args:
        temperature: τ, above 0, or a schedule by a trainer's steps. It should be that by which the
            loss divides the outputs.
        iterations: iterations of `losses.sinkhorn_knopp`, at least 1.
        **kwargs: arguments of `keras.layers.Layer`. Unless `dtype` is given, the layer computes in
            `keras.config.floatx()`, at least float32, whatever the policy.

    Call arguments:
        inputs: float tensor of rank 2 or more. All rows over all axes but the last are balanced
            together.
        training: has no effect.

    Input shape:
        `(..., prototypes)`.

    Output shape:
        That of the input.

    Raises:
        TypeError: if `iterations` is not an integer.
        ValueError: if `temperature` is not positive or `iterations` below 1.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> from keras_ssl import layers
    >>> scores = np.array([[0.9, 0.1], [0.8, 0.3]], "float32")  # both are nearer the first
    >>> centred = layers.SinkhornCenter(temperature=0.05)(scores)
    >>> np.round(ops.softmax(centred / 0.05), 2)
    array([[0.97, 0.03],
           [0.08, 0.92]], dtype=float32)

    Reference:
        - [Caron et al., SwAV](https://arxiv.org/abs/2006.09882)
        - [Oquab et al., DINOv2](https://arxiv.org/abs/2304.07193)
    """

    def __init__(self, temperature: Any = 0.07, iterations: int = 3, **kwargs: Any):
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = keras.backend.result_type(keras.config.floatx(), "float32")
        super().__init__(**kwargs)
        self.temperature = checks.positive_or_schedule("temperature", temperature)
        self.iterations = checks.integer("iterations", iterations, minimum=1)

    def call(self, inputs: Any, training: bool = False) -> Any:
        tau = ops.cast(value_now(self.temperature), inputs.dtype)
        rows = ops.reshape(ops.stop_gradient(inputs) / tau, (-1, inputs.shape[-1]))
        log_q = balanced_log_assignments(rows, self.iterations)
        return ops.reshape(tau * log_q, ops.shape(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"temperature": serialize(self.temperature), "iterations": self.iterations}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SinkhornCenter":
        if isinstance(config["temperature"], dict):
            schedule = keras.saving.deserialize_keras_object(config["temperature"])
            config = {**config, "temperature": schedule}
        return cls(**config)
