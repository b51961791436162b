"""XLA for a few operations inside a TensorFlow graph."""

from collections.abc import Callable
from typing import Any

import keras


def call_compiled(function: Callable, *arguments: Any, image_shape: tuple) -> Any:
    """Call a function of tensors, compiled by XLA if this happens inside a TensorFlow graph.

    TensorFlow's kernels read and write memory once per operation; XLA makes one loop of several
    element-wise operations. Its matrix products on CPU are slower than TensorFlow's, so `function`
    should hold no large ones. Eager calls are not compiled, as each would be compiled anew. Nor are
    images whose size a graph does not know: XLA would compile the function for every size.

    Args:
        function: function of tensors.
        *arguments: its arguments.
        image_shape: `(height, width, channels)` of the images that the function works on.
    """
    if keras.backend.backend() != "tensorflow":
        return function(*arguments)
    import tensorflow as tf

    if tf.executing_eagerly() or not all(isinstance(size, int) for size in image_shape):
        return function(*arguments)
    return tf.function(function, jit_compile=True)(*arguments)
