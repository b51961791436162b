"""Forward and backward passes of parts of a training step, without the rest of the step."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf


def forward_and_backward(
    loss: Callable[[], tf.Tensor],
    variables: Sequence[keras.Variable],
    jit_compile: bool = False,
) -> Callable[[], None]:
    """A function that computes a loss and its gradient, and returns when both are there.

    Args:
        loss: function of no argument that returns a scalar.
        variables: what the gradient is taken with respect to.
        jit_compile: whether XLA compiles it.
    """
    values = [variable.value for variable in variables]

    @tf.function(jit_compile=jit_compile)
    def run() -> list:
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, values, unconnected_gradients="zero")

    return lambda: run()[-1].numpy()
