"""A moving average of the second moments of features."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute


@keras.saving.register_keras_serializable(package="keras_ssl")
class MovingCovariance(keras.layers.Layer):
    """Moving average of the uncentred covariance of features, the state of TiCo's loss.

    With n features z over all replicas and momentum β, the output is the new average

        C ← β C + (1 - β) 1/n Σ_i z_i z_iᵀ

    which the layer keeps in training. C starts at 0, is equal on all replicas, is saved with the
    model and has no gradient.

    Args:
        momentum: β, a float in [0, 1).
        **kwargs: arguments of `keras.layers.Layer`. Unless `dtype` is given, the layer computes in
            `keras.config.floatx()`, at least float32, whatever the policy.

    Call arguments:
        inputs: float tensor, `(batch, ..., features)`.
        training: whether to keep the new average.

    Input shape:
        `(batch, ..., features)`.

    Output shape:
        `(features, features)`.

    Raises:
        TypeError: if `momentum` is not a number.
        ValueError: if `momentum` is outside [0, 1), or the last axis of the input is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> covariance = layers.MovingCovariance(momentum=0.5)
    >>> z = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> covariance(z, training=True).numpy()
    array([[0.25, 0.  ],
           [0.  , 0.25]], dtype=float32)
    >>> covariance(z).numpy()
    array([[0.375, 0.   ],
           [0.   , 0.375]], dtype=float32)

    Reference:
        - [Zhu et al., TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised
          Visual Representation Learning](https://arxiv.org/abs/2206.10698)
    """

    def __init__(self, momentum: float = 0.9, **kwargs: Any):
        momentum = checks.below_one("momentum", momentum)
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = keras.backend.result_type(keras.config.floatx(), "float32")
        super().__init__(**kwargs)
        self.momentum = momentum

    def build(self, input_shape: Any) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "`inputs` must have rank 2 or more and a known number of features. "
                f"Received: inputs.shape={tuple(input_shape)}"
            )
        self.covariance = self.add_weight(
            shape=(input_shape[-1], input_shape[-1]),
            initializer="zeros",
            trainable=False,
            autocast=False,
            # equal on all replicas already
            aggregation="only_first_replica",
            name="covariance",
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        z = ops.stop_gradient(ops.cast(inputs, self.variable_dtype))
        z = ops.reshape(z, (-1, inputs.shape[-1]))
        count = ops.cast(ops.shape(z)[0] * distribute.replica_count(), z.dtype)
        moment = distribute.all_reduce_sum(ops.matmul(ops.transpose(z), z)) / count
        average = self.momentum * self.covariance + (1 - self.momentum) * moment
        if training:
            self.covariance.assign(average)
        return average

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[-1], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}
