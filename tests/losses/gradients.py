"""Values and gradients of a loss on either backend, and over two replicas."""

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()


def _to_numpy(value, gradients):
    return ops.convert_to_numpy(value), [ops.convert_to_numpy(g) for g in gradients]


def value_and_gradients(function, *inputs):
    """A scalar and its gradient with respect to each input."""
    inputs = [ops.convert_to_tensor(x) for x in inputs]
    if BACKEND == "tensorflow":
        return _to_numpy(*_taped(function, *inputs))
    import jax

    return _to_numpy(*jax.value_and_grad(function, argnums=tuple(range(len(inputs))))(*inputs))


def compiled_value_and_gradients(function, *inputs):
    """The same, compiled by XLA."""
    inputs = [ops.convert_to_tensor(x) for x in inputs]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda *x: _taped(function, *x), jit_compile=True)
        return _to_numpy(*compiled(*inputs))
    import jax

    gradient = jax.value_and_grad(function, argnums=tuple(range(len(inputs))))
    return _to_numpy(*jax.jit(gradient)(*inputs))


def replica_values_and_gradients(strategy, function, *batches):
    """For each batch split over two replicas: values, and gradients put together again."""
    import tensorflow as tf

    def part(batch):
        half = len(batch) // 2
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(batch[half * context.replica_id_in_sync_group :][:half])
        )

    step = tf.function(lambda *x: strategy.run(lambda *y: _taped(function, *y), args=x))
    value, gradients = step(*(part(batch) for batch in batches))
    local = strategy.experimental_local_results
    return [v.numpy() for v in local(value)], [np.concatenate(local(g)) for g in gradients]


def _taped(function, *inputs):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    return value, tape.gradient(value, inputs)
