"""Steps of `fit`, `evaluate` and `predict` where several replicas or workers take them.

Keras 3 cannot reduce logs between workers: it takes their mean over an axis that scalars do not
have ([keras issue 20585](https://github.com/keras-team/keras/issues/20585)). Logs as one tensor of
shape `(1, logs)` come out of it as `(logs,)`.

Private names of Keras that this file touches:

- `Model._make_function`, which makes a step on all replicas of a step on one.
- `Model._distribute_strategy`, the strategy that the model was made under.

`tests/trainers/engine/test_two_workers.py` fails when one of them goes away, and when Keras trains
on several workers by itself.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_ssl.distribute.workers import is_multi_worker
from keras_ssl.trainers.engine.data_first import data_first


class WorkerSteps:
    """Mix-in for a `keras.Model`: steps that work with several replicas and workers."""

    def _make_function(self, step_function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        step_function = data_first(step_function)
        strategy = self.distribute_strategy
        if is_multi_worker(strategy):
            return self._one_after_the_other(self._reduced_over_workers(step_function))
        one_step = super()._make_function(step_function)
        if isinstance(strategy, tf.distribute.MirroredStrategy):
            return self._one_after_the_other(one_step)
        return one_step

    def _reduced_over_workers(self, step_function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A step of all replicas whose logs are those of all workers."""
        names = None

        @functools.wraps(step_function)
        def step(data: Any) -> Any:
            nonlocal names
            logs = step_function(data)
            names = keras.tree.map_structure(lambda value: None, logs)
            values = [tf.cast(value, "float32") for value in keras.tree.flatten(logs)]
            return tf.stack(values)[tf.newaxis]  # together: one exchange, and not one a value

        reduced = super()._make_function(step)

        def one_step(iterator: Any) -> Any:
            values = tf.unstack(reduced(iterator))
            return keras.tree.pack_sequence_as(names, values)

        return one_step

    def _one_after_the_other(self, one_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Execute the steps of `steps_per_execution` singly.

        TensorFlow cannot exchange tensors inside the loop that Keras makes of them.
        """

        def steps(iterator: Any) -> Any:
            count = self.steps_per_execution
            if not isinstance(iterator, tf.distribute.DistributedIterator):
                return one_step(iterator)  # `train_on_batch`: there is one batch
            self.steps_per_execution = 1
            logs = None
            try:
                for _ in range(count):
                    logs = one_step(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                if logs is None:
                    raise
            finally:
                self.steps_per_execution = count
            return logs

        return steps

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict, as `keras.Model.predict`.

        With several workers, each computes all of `x` by itself, on one device: it needs none of
        the others, so that the chief may predict alone.
        """
        with self._alone():
            return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Predict, as `keras.Model.predict_on_batch`; with several workers each by itself."""
        with self._alone():
            return super().predict_on_batch(x)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Act as a model on one device, if the strategy has several workers."""
        strategy = self._distribute_strategy
        if not is_multi_worker(strategy):
            yield
            return
        self._distribute_strategy = None
        try:
            yield
        finally:
            self._distribute_strategy = strategy
