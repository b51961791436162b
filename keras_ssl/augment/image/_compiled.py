"""XLA for a few operations inside a TensorFlow graph."""

from collections.abc import Callable
from typing import Any

import keras


def call_compiled(function: Callable, *arguments: Any) -> Any:
    """Call a function of tensors, compiled by XLA if this happens inside a TensorFlow graph.

    TensorFlow's kernels read and write memory once per operation; XLA makes one loop of several
    element-wise operations. Its matrix products on CPU are slower than TensorFlow's, so `function`
    should hold no large ones. Eager calls are not compiled, as each would be compiled anew.
    """
    if keras.backend.backend() != "tensorflow":
        return function(*arguments)
    import tensorflow as tf

    if tf.executing_eagerly():
        return function(*arguments)
    return tf.function(function, jit_compile=True)(*arguments)
