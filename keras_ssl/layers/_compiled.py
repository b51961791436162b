"""XLA for chains of element-wise operations of a training step on CPU."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras

_LEAST_SIZE = 4096


@functools.cache
def compiled(function: Callable) -> Callable:
    """Return a TensorFlow function compiled by XLA, one for all who call the same `function`.

    TensorFlow's kernels read and write memory once per operation; XLA makes one loop of several.
    The function is compiled once for each shape.
    """
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


def is_worth_compiling(x: Any, training: bool | None, rank: int = 3) -> bool:
    """Return whether to compile what is done to tokens `(batch, tokens, width)`.

    Or, with `rank=4`, to feature maps `(batch, height, width, channels)`.

    So it is in a TensorFlow graph that trains on a CPU, if examples are so large that the time
    saved exceeds that of compiling, and all of one shape, since every shape is compiled anew. On
    accelerators Keras compiles the whole step, and eager calls should start at once. What runs
    without training is left as it is, so that it exports as TensorFlow's own operations.
    """
    if not training or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    shape = tuple(x.shape[1:])
    return (
        not tf.executing_eagerly()
        and len(shape) == rank - 1
        and None not in shape
        and math.prod(shape) >= _LEAST_SIZE
        and keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16", "float32")
        and not any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
    )
