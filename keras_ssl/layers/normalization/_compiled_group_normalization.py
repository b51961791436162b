"""Group normalization with SiLU in a training step on CPU: one loop for each pass over memory."""

from typing import Any

from keras_ssl.layers._compiled import compiled


def compiled_group_normalization(
    x: Any, gamma: Any, beta: Any, groups: int, epsilon: float, with_silu: bool
) -> Any:
    """Normalize feature maps in a TensorFlow graph; XLA compiles the pass and its gradient.

    Keras and TensorFlow compute it by a chain of operations, each of which reads and writes all
    maps, and keep most of what they wrote for the gradient. Here the gradient computes it again
    from the maps and the statistics of groups.

    Args:
        x: feature maps `(batch, ..., channels)` of known shape but for the batch.
        gamma: float32 `(batch or 1, channels)`, what normalized values are multiplied by.
        beta: float32 `(batch or 1, channels)`, what is added.
        groups: number of groups.
        epsilon: small number added to variances.
        with_silu: whether to apply SiLU.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def normalize(x: Any, gamma: Any, beta: Any) -> Any:
        y, mean, factor = compiled(_forward)(x, gamma, beta, groups, epsilon, with_silu)

        @tf.custom_gradient
        def gradient(dy: Any, x: Any, gamma: Any, beta: Any) -> Any:
            dx, *sums = compiled(_backward)(x, gamma, beta, mean, factor, with_silu, dy)
            dgamma, dbeta = (
                tf.reduce_sum(one, axis=0, keepdims=True) if of.shape[0] == 1 else one
                for one, of in zip(sums, (gamma, beta), strict=True)
            )
            first = (dx, dgamma, dbeta)

            def second(*gradients: Any) -> Any:
                # mean and factor depend on x, so this starts from the maps again
                with tf.GradientTape() as outer:
                    outer.watch([dy, x, gamma, beta])
                    with tf.GradientTape() as inner:
                        inner.watch([x, gamma, beta])
                        again, *_ = _forward(x, gamma, beta, groups, epsilon, with_silu)
                    plain = inner.gradient(again, [x, gamma, beta], output_gradients=dy)
                return outer.gradient(
                    plain,
                    [dy, x, gamma, beta],
                    output_gradients=list(gradients),
                    unconnected_gradients="zero",
                )

            return first, second

        return y, lambda dy: gradient(dy, x, gamma, beta)

    return normalize(x, gamma, beta)


def _flat(x: Any) -> Any:
    """Return feature maps as float32 `(batch, positions, channels)`."""
    import tensorflow as tf

    positions = 1
    for size in x.shape[1:-1]:
        positions *= size
    return tf.reshape(tf.cast(x, "float32"), (-1, positions, x.shape[-1]))


def _over_positions(x: Any) -> Any:
    """Return the sums over positions, `(batch, channels)`.

    XLA adds up what it computes on the way one by one, but a product with a row by vector
    instructions.
    """
    import tensorflow as tf

    return tf.matmul(tf.ones((tf.shape(x)[0], 1, x.shape[1])), x)[:, 0]


def _over_groups(sums: Any, groups: int, positions: int) -> Any:
    """Return the means `(batch, groups)` that belong to sums `(batch, channels)`."""
    import tensorflow as tf

    share = sums.shape[-1] // groups
    return tf.reduce_sum(tf.reshape(sums, (-1, groups, share)), axis=-1) / (positions * share)


def _of_channels(values: Any, channels: int) -> Any:
    """Return values of groups for each of their channels, `(batch, 1, channels)`."""
    import tensorflow as tf

    return tf.repeat(values, channels // values.shape[-1], axis=-1)[:, None]


def _sigmoid(x: Any) -> Any:
    """Return the sigmoid, which XLA computes faster as a hyperbolic tangent."""
    import tensorflow as tf

    return 0.5 * tf.tanh(0.5 * x) + 0.5


def _forward(
    x: Any, gamma: Any, beta: Any, groups: int, epsilon: float, with_silu: bool
) -> tuple[Any, Any, Any]:
    """Return the output, and mean and factor of each group, `(batch, groups)`."""
    import tensorflow as tf

    maps = _flat(x)
    _, positions, channels = maps.shape
    mean = _over_groups(_over_positions(maps), groups, positions)
    maps = maps - _of_channels(mean, channels)
    variance = _over_groups(_over_positions(tf.square(maps)), groups, positions)
    factor = tf.math.rsqrt(variance + epsilon)
    y = maps * (_of_channels(factor, channels) * gamma[:, None]) + beta[:, None]
    if with_silu:
        y = y * _sigmoid(y)
    return tf.cast(tf.reshape(y, tf.shape(x)), x.dtype), mean, factor


def _backward(
    x: Any, gamma: Any, beta: Any, mean: Any, factor: Any, with_silu: bool, dy: Any
) -> tuple[Any, Any, Any]:
    """Return the gradients of maps, and of gamma and beta for each example."""
    import tensorflow as tf

    maps, slope = _flat(x), _flat(dy)
    _, positions, channels = maps.shape
    factor = _of_channels(factor, channels)
    maps = (maps - _of_channels(mean, channels)) * factor
    if with_silu:
        y = maps * gamma[:, None] + beta[:, None]
        share = _sigmoid(y)
        slope = slope * (share * (1.0 + y * (1.0 - share)))
    dbeta, dgamma = _over_positions(slope), _over_positions(slope * maps)
    first, along = (
        _of_channels(_over_groups(one * gamma, mean.shape[-1], positions), channels)
        for one in (dbeta, dgamma)
    )
    dx = factor * (slope * gamma[:, None] - first - maps * along)
    return tf.cast(tf.reshape(dx, tf.shape(x)), x.dtype), dgamma, dbeta
