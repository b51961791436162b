"""Functions that the replicas of a process run together outside of training, compiled."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ssl.distribute.workers import is_multi_worker


def replicas_of(strategy: tf.distribute.Strategy) -> int:
    """Return how many replicas of this process run a `ReplicaFunction` together."""
    return 1 if is_multi_worker(strategy) else strategy.num_replicas_in_sync


class ReplicaFunction:
    """A function of tensors that is traced once and run on all replicas of this process.

    Every replica gets the same arguments, except for those that an earlier call returned, of which
    it gets its own. `distribute.local_rows` and `distribute.draw_per_example` tell its rows. With
    several workers each runs the function by itself, as Keras' `predict` of a trainer does.

    Args:
        function: function of structures of tensors.
        strategy: the strategy of the model.
        jit_compile: whether XLA compiles the function; not with several replicas.
    """

    def __init__(
        self, function: Callable[..., Any], strategy: tf.distribute.Strategy, jit_compile: bool
    ):
        self._has_several = replicas_of(strategy) > 1

        def on_replicas(*arguments: Any) -> Any:
            return strategy.run(function, args=arguments)

        self._strategy = strategy
        # TensorFlow warns of frequent tracing by the source of a function, of which there may be
        # many here; a partial has no source
        self._function = tf.function(
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
