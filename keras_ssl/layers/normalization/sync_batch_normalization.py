"""Batch normalization over the global batch."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.layers.normalization._fused_normalization import (
    fused_batch_normalization,
    synchronized_batch_normalization,
)
from keras_ssl.ops import at_least_float32


@keras.saving.register_keras_serializable(package="keras_ssl")
class SyncBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization with the statistics of the global batch.

    Like `keras.layers.BatchNormalization`, it computes
    `gamma * (x - mean) / sqrt(variance + epsilon) + beta`. It differs in two ways:

    - On several replicas of a `tf.distribute` strategy, mean and variance are those of the examples
      of all replicas. Contrastive losses need this: otherwise a network can recognize positives by
      the statistics of the replica that they share.
    - With the TensorFlow backend, feature maps (rank 4, channels last) are normalized by fused
      kernels instead of a chain of element-wise operations. A SimCLR step of a ResNet-18 takes
      three quarters of the time. Several replicas exchange two tensors per step instead of Keras'
      five. Under XLA the kernel computes the variance as `E[x^2] - E[x]^2`, which is inaccurate
      if a channel's mean is many times its standard deviation.

    Args:
        momentum: float. Momentum of the moving mean and variance.
        epsilon: float added to the variance. The defaults of both are those of PyTorch (where
            `momentum` is 0.1) and of the reference implementations of SimCLR and ResNet.
        **kwargs: other arguments of `keras.layers.BatchNormalization`, except `synchronized`,
            which is determined at each call.

    Call arguments:
        inputs: float tensor of rank 2 or more.
        training: whether to normalize by the statistics of the batch and update the moving ones
            (`True`), or to normalize by the moving ones (`False`).
        mask: optional mask of rank one less than the inputs: `False` for positions, such as padded
            nodes, that are left out of the statistics.

    Input shape:
        Any shape with a channel axis (the last by default).

    Output shape:
        That of the input.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import SyncBatchNormalization
    >>> layer = SyncBatchNormalization()
    >>> y = layer(np.arange(16.0).reshape(4, 2, 2, 1), training=True)
    >>> abs(float(np.mean(y))) < 1e-6
    True

    Reference:

    - [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167)
    - [Chen et al., 2020](https://arxiv.org/abs/2002.05709), section 2.2, on global statistics
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any) -> None:
        if "synchronized" in kwargs:
            raise ValueError(
                "`synchronized` cannot be set: SyncBatchNormalization always synchronizes. Use "
                "keras.layers.BatchNormalization for the statistics of single replicas. "
                f"Received: synchronized={kwargs['synchronized']}"
            )
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        update = bool(training) and self.trainable
        synchronize = update and distribute.replica_count() > 1
        if update and mask is not None and not self.renorm:
            return self._normalize_masked(inputs, mask)
        if not self._can_fuse(inputs, synchronize) or (update and mask is not None):
            return super().call(inputs, training=training, mask=mask)
        moving_mean = ops.cast(self.moving_mean, "float32")
        moving_variance = ops.cast(self.moving_variance, "float32")
        gamma = ops.cast(self.gamma, "float32") if self.scale else ops.ones_like(moving_mean)
        beta = ops.cast(self.beta, "float32") if self.center else ops.zeros_like(moving_mean)
        if synchronize:
            outputs, mean, variance = synchronized_batch_normalization(
                _as_maps(inputs), gamma, beta, moving_mean, self.epsilon
            )
            outputs = ops.reshape(outputs, ops.shape(inputs))
        else:
            outputs, mean, variance = fused_batch_normalization(
                inputs, gamma, beta, moving_mean, moving_variance, self.epsilon, training=update
            )
        if update:
            fresh = 1.0 - self.momentum
            self.moving_mean.assign(moving_mean * self.momentum + mean * fresh)
            self.moving_variance.assign(moving_variance * self.momentum + variance * fresh)
        return ops.cast(outputs, self.compute_dtype)

    def _normalize_masked(self, inputs: Any, mask: Any) -> Any:
        """Normalize by the statistics of unmasked positions, those of all replicas."""
        axis = self.axis % len(inputs.shape)
        others = [one for one in range(len(inputs.shape)) if one != axis]
        x = at_least_float32(inputs)
        is_counted = ops.broadcast_to(ops.expand_dims(ops.cast(mask, "bool"), -1), ops.shape(x))

        def mean(values: Any) -> Any:
            values = ops.where(is_counted, values, ops.zeros_like(values))
            return distribute.all_reduce_sum(ops.sum(values, others, keepdims=True)) / count

        count = ops.sum(ops.cast(is_counted, x.dtype), others, keepdims=True)
        count = ops.maximum(distribute.all_reduce_sum(count), 1)
        center = mean(x)
        variance = mean(ops.square(x - center))
        moving = ((self.moving_mean, center), (self.moving_variance, variance))
        for average, value in moving:
            value = ops.cast(ops.reshape(value, (-1,)), average.dtype)
            average.assign(average * self.momentum + value * (1.0 - self.momentum))
        outputs = (x - center) * ops.rsqrt(variance + self.epsilon)
        channels = [size if one == axis else 1 for one, size in enumerate(inputs.shape)]
        if self.scale:
            outputs = outputs * ops.cast(ops.reshape(self.gamma, channels), x.dtype)
        if self.center:
            outputs = outputs + ops.cast(ops.reshape(self.beta, channels), x.dtype)
        return ops.cast(outputs, self.compute_dtype)

    def _can_fuse(self, inputs: Any, synchronize: bool) -> bool:
        rank = len(inputs.shape)
        return (
            keras.backend.backend() == "tensorflow"
            and (rank == 4 or synchronize)
            and self.axis in (-1, rank - 1)
            and not self.renorm
            and keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16", "float32")
        )

    @property
    def synchronized(self) -> bool:
        """Whether there are several replicas, which Keras asks at each call."""
        return distribute.replica_count() > 1

    @synchronized.setter
    def synchronized(self, value: bool) -> None:
        pass  # set by Keras' constructor

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("synchronized")
        return config


def _as_maps(x: Any) -> Any:
    """Reshape inputs with channels last to rank 4."""
    return x if len(x.shape) == 4 else ops.reshape(x, (-1, 1, 1, x.shape[-1]))
