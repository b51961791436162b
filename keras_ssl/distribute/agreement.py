"""Let the processes of a strategy act as one: all go on, or all stop with a reason."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def gather_numbers(strategy: tf.distribute.Strategy, numbers: list[int]) -> np.ndarray:
    """Gather numbers from all processes. Every one of them must call it.

    Args:
        strategy: the strategy.
        numbers: integers of at most 31 bits, equally many everywhere.

    Returns:
        Array of shape `(replicas, len(numbers))`.
    """
    if strategy.num_replicas_in_sync == 1:
        return np.array([numbers])

    gathered = _gather_function(strategy)(tf.constant(numbers, "int32"))
    return strategy.experimental_local_results(gathered)[0].numpy()


@functools.cache
def _gather_function(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], Any]:
    """A function that is traced once, for numbers of any count."""

    def gather_rows(row: tf.Tensor) -> tf.Tensor:
        return tf.distribute.get_replica_context().all_gather(row[tf.newaxis], axis=0)

    @tf.function(input_signature=[tf.TensorSpec([None], "int32")])
    def gather(row: tf.Tensor) -> Any:
        return strategy.run(gather_rows, args=(row,))

    return gather


def agree(strategy: tf.distribute.Strategy, check: Callable[[], Any]) -> Any:
    """Run a check on every process; all raise if it raises on one.

    Without this a process whose check passes would wait for ever for the one whose check did not.

    Args:
        strategy: the strategy.
        check: function without arguments that raises an `OSError` or `ValueError`.

    Returns:
        What `check` returned on this process.

    Raises:
        OSError: what `check` raised on this process.
        ValueError: the same.
        RuntimeError: if it raised on another one.
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
            f"Another worker stopped before the first step (replica {int(np.argmax(failed))} of "
            f"{len(failed)}): its output tells why"
        )
    return result
