"""Gradients by `tf.GradientTape`, and the step of an optimizer."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops


def differentiate(
    compute: Callable[[], tuple[Any, Any]], variables: list[keras.Variable]
) -> tuple[Any, list[Any]]:
    """Differentiate a function with respect to variables.

    Args:
        compute: function that returns a scalar, and whatever else it computes.
        variables: the variables.

    Returns:
        What else `compute` returned, and one gradient per variable, `None` if the scalar does not
        depend on it.
    """
    with tf.GradientTape() as tape:
        scalar, others = compute()
    return others, tape.gradient(scalar, variables)


def differentiate_with(
    compute: Callable[..., tuple[Any, Any]], variables: list[keras.Variable], tensors: list[Any]
) -> tuple[Any, list[Any], list[Any]]:
    """Differentiate a function with respect to variables and to its arguments.

    Args:
        compute: function of the tensors that returns a scalar, and whatever else it computes.
        variables: the variables.
        tensors: floating-point tensors.

    Returns:
        What else `compute` returned, one gradient per variable, and one per tensor; `None` if the
        scalar does not depend on it.
    """
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        scalar, others = compute(*tensors)
    of_tensors, of_variables = tape.gradient(scalar, [tensors, variables])
    return others, of_variables, of_tensors


def input_gradient(function: Callable[[Any], Any], x: Any) -> Any:
    """Differentiate a function with respect to its input, for methods that need such a gradient.

    The result can be differentiated again, with respect to weights too: a gradient penalty is a
    loss of it. Where a row of `function(x)` depends on the same row of `x` alone, as in inference
    mode, the rows of the result are the gradients of the examples.

    Args:
        function: function of `x` that returns a tensor, of which the sum is differentiated.
        x: floating-point tensor, or a structure of them.

    Returns:
        The gradient, shaped as `x`; zeros where the function does not depend on `x`.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.trainers.engine.gradients import input_gradient
    >>> input_gradient(ops.square, ops.convert_to_tensor([1.0, 3.0])).numpy().tolist()
    [2.0, 6.0]
    """
    x = keras.tree.map_structure(ops.convert_to_tensor, x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
