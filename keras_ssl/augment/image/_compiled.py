"""Compiling a few operations into one pass over their data."""

from collections.abc import Callable
from typing import Any

import keras


def call_compiled(function: Callable, *arguments: Any) -> Any:
    """Call a function; inside a TensorFlow graph, have XLA compile it.

    TensorFlow's own kernels read and write memory once an operation; XLA makes one loop of a row
    of element-wise operations. Its matrix products on CPU are slower than TensorFlow's, so what is
    compiled here should hold no large ones. Eager calls are not compiled: they would be compiled
    anew each time. On other backends the function is called as it is.

    Args:
        function: from structures of tensors to a structure of tensors, by `keras.ops`.
        *arguments: what to call it with.

    Returns:
        What the function returns.
    """
    if keras.backend.backend() != "tensorflow":
        return function(*arguments)
    import tensorflow as tf

    if tf.executing_eagerly():
        return function(*arguments)
    return tf.function(function, jit_compile=True)(*arguments)
