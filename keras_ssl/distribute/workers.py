"""Communication between worker processes."""

import functools
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_ssl.distribute._cluster import read_cluster

_TENSORFLOW = keras.backend.backend() == "tensorflow"
if _TENSORFLOW:
    import tensorflow as tf


def is_multi_worker(strategy: "tf.distribute.Strategy | None") -> bool:
    """Whether it is a `tf.distribute.MultiWorkerMirroredStrategy` with a cluster."""
    return (
        _TENSORFLOW
        and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        and strategy.cluster_resolver is not None
        and bool(strategy.cluster_resolver.cluster_spec().jobs)
    )


def is_chief(strategy: "tf.distribute.Strategy | None" = None) -> bool:
    """Whether this process is the one that writes files and shows progress.

    Args:
        strategy: the strategy that tells which worker this is. `None` reads the environment
            variable `TF_CONFIG`.

    Returns:
        `True` in the first worker of a cluster, and if there is no cluster.

    Raises:
        ValueError: if `TF_CONFIG` is malformed.

    Example:

    >>> from keras_ssl import distribute
    >>> if distribute.is_chief():
    ...     print("written once")
    written once
    """
    if strategy is None:
        cluster = read_cluster()
        return cluster is None or cluster.index == 0
    if not is_multi_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (not has_chief and resolver.task_id == 0)


def strategy_name(strategy: "tf.distribute.Strategy") -> str:
    """The public name of a strategy's class."""
    if is_multi_worker(strategy):
        return "MultiWorkerMirroredStrategy"  # the class itself has an older name
    return type(strategy).__name__


def worker_index(strategy: "tf.distribute.Strategy") -> int:
    """Which worker of a multi-worker strategy this process is; 0 is the chief."""
    resolver = strategy.cluster_resolver
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_id + (has_chief and resolver.task_type == "worker")


def worker_count(strategy: "tf.distribute.Strategy") -> int:
    """The number of workers of a multi-worker strategy, including the chief."""
    spec = strategy.cluster_resolver.cluster_spec()
    return sum(spec.num_tasks(job) for job in spec.jobs if job in ("chief", "worker"))


def gather_numbers(strategy: "tf.distribute.Strategy", numbers: list[int]) -> np.ndarray:
    """Gather 31-bit integers of all replicas, as an array `(replicas, len(numbers))`.

    All workers must call it, with equally many numbers.
    """
    if strategy.num_replicas_in_sync == 1:
        return np.array([numbers])
    gathered = _gather_function(strategy)(tf.constant(numbers, "int32"))
    return strategy.experimental_local_results(gathered)[0].numpy()


@functools.cache
def _gather_function(strategy: "tf.distribute.Strategy") -> Callable[["tf.Tensor"], Any]:
    """A function that gathers any count of numbers and is traced once."""

    def gather_rows(row: tf.Tensor) -> tf.Tensor:
        return tf.distribute.get_replica_context().all_gather(row[tf.newaxis], axis=0)

    @tf.function(input_signature=[tf.TensorSpec([None], "int32")])
    def gather(row: tf.Tensor) -> Any:
        return strategy.run(gather_rows, args=(row,))

    return gather


def agree(strategy: "tf.distribute.Strategy", check: Callable[[], Any]) -> Any:
    """Run a check in every worker and return its result; all raise if one of them raises.

    Without this, a worker whose check passes would wait forever for one whose check did not.
    Where `check` raises an `OSError` or a `ValueError`, that error is raised; elsewhere a
    `RuntimeError`.
    """
    result = error = None
    try:
        result = check()
    except (OSError, ValueError) as raised:
        error = raised
    failed = gather_numbers(strategy, [error is not None])[:, 0]
    if error is not None:
        raise error
    if failed.any():
        raise RuntimeError(
            "Another worker stopped before the first step; its output tells why. Received: an "
            f"error of replica {int(np.argmax(failed))} of {len(failed)}"
        )
    return result


def from_chief(value: Any, strategy: "tf.distribute.Strategy") -> Any:
    """Return the chief's value in every worker. All workers must call it.

    The value must be serialisable to JSON; only the chief's is used. Floats keep all bits, tuples
    become lists.
    """
    if not is_multi_worker(strategy):
        return value
    text = json.dumps(value).encode() if is_chief(strategy) else b""
    length = int(gather_numbers(strategy, [len(text)])[0, 0])
    padded = text.ljust(length)[:length]
    return json.loads(bytes(gather_numbers(strategy, list(padded))[0].tolist()))


def on_chief(function: Callable[[], Any], strategy: "tf.distribute.Strategy") -> Any:
    """Run a function in the chief only and return its result in every worker.

    All workers must call it; all raise if the function raises.

    Args:
        function: function without arguments, whose result must be serialisable to JSON.
        strategy: the strategy of the model.

    Returns:
        The result of `function`.

    Raises:
        RuntimeError: in the other workers, if `function` raised in the chief.

    Example:

    >>> import tensorflow as tf
    >>> from keras_ssl import distribute
    >>> distribute.on_chief(lambda: {"accuracy": 0.5}, tf.distribute.get_strategy())
    {'accuracy': 0.5}
    """
    if not is_multi_worker(strategy):
        return function()
    result = error = None
    if is_chief(strategy):
        try:
            result = function()
        except Exception as raised:
            error = raised
    failure = None if error is None else f"{type(error).__name__}: {error}"
    result, failure = from_chief([result, failure], strategy)
    if error is not None:
        raise error
    if failure is not None:
        raise RuntimeError(f"The chief failed: {failure}")
    return result
