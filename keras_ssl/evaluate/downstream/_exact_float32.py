"""Products in full float32 on every device."""

import contextlib
from collections.abc import Iterator

import keras

_JAX = keras.backend.backend() == "jax"
if _JAX:
    import jax
else:
    import tensorflow as tf


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Products in full float32, where a GPU would round entries to 10 bits."""
    if _JAX:
        with jax.default_matmul_precision("highest"):
            yield
        return
    allowed = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(allowed)
