"""Functions that the replicas of a process run together outside of training, compiled."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_ssl.distribute.workers import is_multi_worker

if keras.backend.backend() == "jax":
    import jax

    from keras_ssl.trainers.engine.jax.differentiation import StepScope
else:
    import tensorflow as tf


def replicas_of(model: keras.Model) -> int:
    """Return how many replicas of this process run a `ReplicaFunction` of a model together."""
    strategy = model.distribute_strategy
    return 1 if is_multi_worker(strategy) else strategy.num_replicas_in_sync


class ReplicaFunction:
    """A function of tensors that is traced once and run on all replicas of this process.

    Every replica gets the same arguments, except for those that an earlier call returned, of which
    it gets its own. `distribute.local_rows` and `distribute.draw_per_example` tell its rows. With
    several workers each runs the function by itself, as Keras' `predict` of a trainer does.

    Args:
        function: function of structures of tensors, which reads variables of the model, and
            assigns none.
        model: the model, a `DistributedFit`.
        jit_compile: whether XLA compiles the function; not with several replicas.
    """

    def __init__(self, function: Callable[..., Any], model: keras.Model, jit_compile: bool):
        self._has_several = replicas_of(model) > 1
        self._strategy = model.distribute_strategy
        compiled = _with_jax if keras.backend.backend() == "jax" else self._with_tensorflow
        self._function = compiled(function, model, jit_compile)

    def _with_tensorflow(
        self, function: Callable[..., Any], model: keras.Model, jit_compile: bool
    ) -> Callable[..., Any]:
        def on_replicas(*arguments: Any) -> Any:
            return self._strategy.run(function, args=arguments)

        # TensorFlow warns of frequent tracing by the source of a function, of which there may be
        # many here; a partial has no source
        return tf.function(
            functools.partial(on_replicas if self._has_several else function),
            jit_compile=bool(jit_compile) and not self._has_several,
            reduce_retracing=True,
        )

    def __call__(self, *arguments: Any) -> Any:
        """Run the function on arrays, tensors, and results of other functions."""
        return self._function(*arguments)

    def rows(self, value: Any) -> np.ndarray:
        """Return the rows of all replicas of a result, as an array."""
        parts = self._strategy.experimental_local_results(value) if self._has_several else [value]
        return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def _with_jax(
    function: Callable[..., Any], model: keras.Model, jit_compile: bool
) -> Callable[..., Any]:
    def of_values(values: list[Any], *arguments: Any) -> Any:
        with StepScope(zip(model.variables, values, strict=True)):
            return function(*arguments)

    # always compiled: a loop of JAX compiles its body in any case
    compiled = jax.jit(of_values)
    return lambda *arguments: compiled([one.value for one in model.variables], *arguments)
