"""Batch normalization of feature maps by TensorFlow's fused kernels, on one or more replicas."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute


def fused_batch_normalization(
    x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float, training: bool
) -> tuple[Any, Any, Any]:
    """Normalize feature maps in one TensorFlow kernel.

    In training, the statistics are those of `x`; otherwise they are `mean` and `variance`. Return
    the output, and the mean and biased variance it was normalized by. All but `x` are float32.
    """
    import tensorflow as tf

    if not training:
        y = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=mean,
            variance=variance,
            epsilon=epsilon,
            is_training=False,
        ).y
        return y, mean, variance
    nothing = tf.zeros((0,), "float32")
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=nothing, variance=nothing, epsilon=epsilon
    )
    # the kernel normalizes by the biased variance, which Keras averages, but returns the unbiased
    count = _count(x)
    return y, mean, variance * (count - 1.0) / count


def synchronized_batch_normalization(
    x: Any, gamma: Any, beta: Any, near_mean: Any, epsilon: float
) -> tuple[Any, Any, Any]:
    """Normalize feature maps by the statistics of all replicas, with two sums over replicas.

    The forward pass sums the counts, means and variances of all replicas; the backward pass sums
    the gradients of scale and offset, from which that of `x` follows:

        dx = gamma / sqrt(variance + epsilon) * (dy - mean(dy) - x_hat * mean(dy * x_hat))

    `near_mean` is equal on all replicas. Replicas sum the deviations of their means from it, so
    the closer it is, the smaller is the rounding error. Return the output, and the mean and biased
    variance without gradient.
    """
    import tensorflow as tf

    near_mean = tf.stop_gradient(near_mean)

    @tf.custom_gradient
    def normalize(x: Any, gamma: Any, beta: Any) -> Any:
        count = _count(x)
        # only the statistics of this kernel are used
        _, mean, variance = fused_batch_normalization(
            x, gamma, beta, None, None, epsilon, training=True
        )
        mean, variance, total = _over_replicas(count, mean, variance, near_mean)
        y, *_ = fused_batch_normalization(x, gamma, beta, mean, variance, epsilon, training=False)

        @tf.custom_gradient
        def gradient(dy: Any, x: Any, gamma: Any, beta: Any) -> Any:
            dx, dgamma, dbeta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=dy,
                x=x,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=tf.zeros((0,), "float32"),
                epsilon=epsilon,
                is_training=False,
            )
            sums = distribute.all_reduce_sum(tf.concat([dgamma, dbeta], axis=0))
            mean_dgamma, mean_dbeta = tf.split(sums / total, 2)
            # the gradient through the statistics is linear in x, so the kernel computes it too
            scale = -gamma / (variance + epsilon) * mean_dgamma
            offset = -gamma * tf.math.rsqrt(variance + epsilon) * mean_dbeta
            through_statistics, *_ = fused_batch_normalization(
                x, scale, offset, mean, tf.ones_like(mean), 0.0, training=False
            )
            first = (dx + through_statistics, dgamma, dbeta)

            def second(*gradients: Any) -> Any:
                with tf.GradientTape() as outer:
                    outer.watch([dy, x, gamma, beta])
                    with tf.GradientTape() as inner:
                        inner.watch([x, gamma, beta])
                        again = _differentiable(x, gamma, beta, near_mean, epsilon)
                    plain = inner.gradient(again, [x, gamma, beta], output_gradients=dy)
                return outer.gradient(
                    plain,
                    [dy, x, gamma, beta],
                    output_gradients=list(gradients),
                    unconnected_gradients="zero",
                )

            return first, second

        return (y, mean, variance), lambda dy, *_: gradient(dy, x, gamma, beta)

    y, mean, variance = normalize(x, gamma, beta)
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance)


def _count(x: Any) -> Any:
    """Number of values per channel."""
    return ops.cast(ops.prod(ops.shape(x)[:3]), "float32")


def _over_replicas(count: Any, mean: Any, variance: Any, near_mean: Any) -> tuple[Any, Any, Any]:
    """Mean, variance and number of the values of all replicas, in one sum over replicas."""
    away = mean - near_mean
    each = [ops.ones((1,)), away, variance + away**2]
    sums = distribute.all_reduce_sum(count * ops.concatenate(each))
    total = sums[0]
    away, square = ops.split(sums[1:] / total, 2)
    return near_mean + away, ops.maximum(square - away**2, 0.0), total


def _differentiable(x: Any, gamma: Any, beta: Any, near_mean: Any, epsilon: float) -> Any:
    """The same normalization by operations that have derivatives of any order."""
    whole = ops.cast(x, "float32")
    mean = ops.mean(whole, axis=(0, 1, 2))
    # `moments` treats the mean as constant, which is right for the first derivative only
    variance = ops.mean(ops.square(whole - mean), axis=(0, 1, 2))
    mean, variance, _ = _over_replicas(_count(x), mean, variance, near_mean)
    y = (whole - mean) * ops.rsqrt(variance + epsilon) * gamma + beta
    return ops.cast(y, keras.backend.standardize_dtype(x.dtype))
