"""Values of a strategy's variables, including what differs between replicas."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class ReplicaValues:
    """Reads and writes a strategy's variables, with the copies of all replicas.

    A variable that is equal on all replicas has one value. One that differs has a value per
    replica: metrics, which sum up what their replica saw, and the state of layers that are not
    synchronised. With several processes, metrics are gathered from all of them, so all processes
    must read at the same step; other variables are read from the own process.

    Args:
        strategy: the strategy that the variables were made under.
        variables: the `keras.Variable`s.
    """

    def __init__(self, strategy: tf.distribute.Strategy, variables: Sequence[keras.Variable]):
        self.strategy = strategy
        self.variables = list(variables)
        self._tensors = [variable.value for variable in self.variables]
        replicas = strategy.num_replicas_in_sync
        self._added = [
            replicas > 1 and one.synchronization == tf.VariableSynchronization.ON_READ
            for one in self._tensors
        ]
        self._gather = tf.function(self._gather_added)

    def _local(self, value: Any) -> tuple:
        """Return the copies of a value on the replicas of this process."""
        return self.strategy.experimental_local_results(value)

    def _gather_added(self) -> Any:
        added = [t for t, is_added in zip(self._tensors, self._added, strict=True) if is_added]

        def gather() -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            return [context.all_gather(tensor[tf.newaxis], axis=0) for tensor in added]

        return self.strategy.run(gather)

    def _replica_numbers(self) -> Any:
        def number() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return tf.convert_to_tensor(context.replica_id_in_sync_group)

        return self.strategy.run(number)

    def read(self) -> list[tuple[np.ndarray, bool]]:
        """Return the value of each variable, and whether its first axis counts replicas."""
        gathered = iter(self._gather() if any(self._added) else [])
        found = []
        for tensor, is_added in zip(self._tensors, self._added, strict=True):
            if is_added:
                found.append((self._local(next(gathered))[0].numpy(), True))
                continue
            values = [one.numpy() for one in self._local(tensor)]
            if all(np.array_equal(_bits(one), _bits(values[0])) for one in values[1:]):
                found.append((np.asarray(values[0]), False))
            else:
                found.append((np.stack(values), True))
        return found

    def write(self, values: Sequence[tuple[np.ndarray, bool]]) -> None:
        """Set the variables to what `read` returned, perhaps with another number of replicas."""
        replicas = self.strategy.num_replicas_in_sync
        numbers = self._local(tf.function(self._replica_numbers)())
        for tensor, is_added, (value, is_by_replica) in zip(
            self._tensors, self._added, values, strict=True
        ):
            if is_by_replica and len(value) != replicas:
                value = _spread(value, tensor.aggregation, replicas)
            elif not is_by_replica and is_added:
                value = _spread(value[np.newaxis], tensor.aggregation, replicas)
                is_by_replica = True
            for number, one in zip(numbers, self._local(tensor), strict=True):
                one.assign(value[int(number)] if is_by_replica else value)


def _bits(value: np.ndarray) -> bytes:
    """Return the bytes of a value, by which NaN equals NaN."""
    return np.asarray(value).tobytes()


def _spread(value: np.ndarray, aggregation: tf.VariableAggregation, replicas: int) -> Any:
    """Convert the values of some replicas to those of another number of replicas."""
    if aggregation == tf.VariableAggregation.SUM:
        rows = np.zeros((replicas, *value.shape[1:]), value.dtype)
        rows[0] = value.sum(axis=0)
        return rows
    return np.stack([value[0]] * replicas)
