"""Functions that are compiled once, for each backend."""

import functools
from collections.abc import Callable
from typing import Any

import keras

_JAX = keras.backend.backend() == "jax"
if _JAX:
    import jax
else:
    import tensorflow as tf


def compiled(*static: str) -> Callable[[Callable], Callable]:
    """Return a decorator that compiles a function of tensors.

    Args:
        *static: names of arguments that are Python values, for each of which it is compiled.
    """
    if _JAX:
        return functools.partial(jax.jit, static_argnames=static)
    return functools.partial(tf.function, reduce_retracing=True)


def compiled_with(layer: keras.layers.Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors that reads the variables of a layer, compiled.

    What it assigns to them, such as the states of seed generators, is kept.

    Args:
        layer: the layer.
        function: function of structures of tensors.
    """
    if not _JAX:
        # a partial has no source, by which TensorFlow warns of frequent tracing
        return tf.function(functools.partial(function), reduce_retracing=True)

    def of_values(values: list[Any], *arguments: Any) -> tuple[Any, dict[int, Any]]:
        variables = layer.variables
        with keras.StatelessScope(zip(variables, values, strict=True)) as scope:
            before = [scope.get_current_value(one) for one in variables]
            outputs = function(*arguments)
            after = [scope.get_current_value(one) for one in variables]
        pairs = enumerate(zip(before, after, strict=True))
        return outputs, {number: new for number, (old, new) in pairs if new is not old}

    jitted = jax.jit(of_values)

    def call(*arguments: Any) -> Any:
        variables = layer.variables
        outputs, changed = jitted([one.value for one in variables], *arguments)
        for number, value in changed.items():
            variables[number].assign(value)
        return outputs

    return call
