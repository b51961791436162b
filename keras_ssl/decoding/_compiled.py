"""Functions of a model that are compiled once, for each backend."""

import functools
import weakref
from collections.abc import Callable
from typing import Any

import keras

_FUNCTIONS: "weakref.WeakKeyDictionary[keras.Model, dict]" = weakref.WeakKeyDictionary()


def compiled_for(
    model: keras.Model, key: tuple, make: Callable[[], Callable], jit_compile: bool | None
) -> Callable:
    """Return a function of arrays and the model, compiled; the same for the same key.

    Args:
        model: the model, which is not kept alive.
        key: what the function depends on beside the shapes of its arguments.
        make: returns the function, of which the first argument is the model.
        jit_compile: whether XLA compiles a function of TensorFlow; if `None`, on accelerators.
    """
    functions = _FUNCTIONS.setdefault(model, {})
    # new variables, such as those of LoRA, need a new trace
    key = (*key, jit_compile, len(model.variables))
    if key not in functions:
        functions[key] = _compile(weakref.ref(model), make(), jit_compile)
    return functions[key]


def _compile(
    reference: "weakref.ref[keras.Model]", function: Callable, jit_compile: bool | None
) -> Callable:
    def call(*arguments: Any) -> Any:
        return function(reference(), *arguments)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if jit_compile is None:
            kinds = ("GPU", "TPU")
            jit_compile = any(tf.config.list_logical_devices(kind) for kind in kinds)
        # a partial has no source, by which TensorFlow warns of frequent tracing
        return tf.function(functools.partial(call), jit_compile=jit_compile, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        def stateless(values: list[Any], *arguments: Any) -> Any:
            mapping = zip(reference().variables, values, strict=True)
            with keras.StatelessScope(state_mapping=list(mapping)):
                return call(*arguments)

        jitted = jax.jit(stateless)
        return lambda *arguments: jitted([v.value for v in reference().variables], *arguments)
    return call
