"""What several worker processes do together, and what the chief does for all."""

import json
from collections.abc import Callable
from typing import Any

from keras_ssl.distribute.cluster import read_cluster


def is_multi_worker(strategy: Any) -> bool:
    """Whether a strategy trains with the processes of a cluster.

    Args:
        strategy: a `tf.distribute.Strategy` or `None`.

    Returns:
        `True` under `tf.distribute.MultiWorkerMirroredStrategy` with a cluster.
    """
    import tensorflow as tf

    return (
        isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        and strategy.cluster_resolver is not None
        and bool(strategy.cluster_resolver.cluster_spec().jobs)
    )


def is_chief(strategy: Any = None) -> bool:
    """Whether this process writes what one process alone must write.

    Args:
        strategy: the `tf.distribute.Strategy` that tells which worker this is. `None` asks the
            environment variable `TF_CONFIG`.

    Returns:
        `True` in the first worker of a cluster, and where there is no cluster.

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


def strategy_name(strategy: Any) -> str:
    """The name by which users know the class of a strategy."""
    if is_multi_worker(strategy):
        return "MultiWorkerMirroredStrategy"  # the class itself goes by an older name
    return type(strategy).__name__


def worker_index(strategy: Any) -> int:
    """Which worker of a multi-worker strategy this process is: 0 is the chief."""
    resolver = strategy.cluster_resolver
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_id + (has_chief and resolver.task_type == "worker")


def worker_count(strategy: Any) -> int:
    """How many workers a multi-worker strategy has, the chief included."""
    spec = strategy.cluster_resolver.cluster_spec()
    return sum(spec.num_tasks(job) for job in spec.jobs if job in ("chief", "worker"))


def from_chief(value: Any, strategy: Any) -> Any:
    """Give every worker what the chief holds. All workers must call it.

    Args:
        value: what JSON can hold; of workers other than the chief it is not looked at.
        strategy: the `tf.distribute.Strategy`.

    Returns:
        The chief's value, floats to the last bit; tuples come back as lists.
    """
    if not is_multi_worker(strategy):
        return value
    from keras_ssl.distribute.agreement import gather_numbers

    text = json.dumps(value).encode() if is_chief(strategy) else b""
    length = int(gather_numbers(strategy, [len(text)])[0, 0])
    padded = text.ljust(length)[:length]
    return json.loads(bytes(gather_numbers(strategy, list(padded))[0].tolist()))


def on_chief(function: Callable[[], Any], strategy: Any) -> Any:
    """Run a function in the chief alone and give its result to every worker.

    All workers must call it; all raise if the function raises.

    Args:
        function: function without arguments. What it returns must fit into JSON: numbers, strings,
            lists and dictionaries of them.
        strategy: the `tf.distribute.Strategy` of the model.

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
