"""Communication between the replicas of a training step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

_TENSORFLOW = keras.backend.backend() == "tensorflow"
if _TENSORFLOW:
    import tensorflow as tf


class _ReplicaOnShapes:
    """A replica context for tracing shapes, in which all replicas hold the same tensors."""

    replica_id_in_sync_group = 0

    def __init__(self, count: int):
        self.num_replicas_in_sync = count

    def all_gather(self, x: Any, axis: int) -> Any:
        return ops.concatenate([x] * self.num_replicas_in_sync, axis=axis)

    def all_reduce(self, reduce_op: str, x: Any) -> Any:
        return x * self.num_replicas_in_sync


_on_shapes: ContextVar[_ReplicaOnShapes | None] = ContextVar("on_shapes", default=None)


@contextmanager
def shapes_of_replica(count: int) -> Iterator[None]:
    """Scope in which a step is traced for its shapes as on one of `count` replicas.

    A step is traced for its shapes outside `strategy.run` before it runs. Inside this scope the
    functions of this file return the shapes that they return in the run.
    """
    token = _on_shapes.set(_ReplicaOnShapes(count))
    try:
        yield
    finally:
        _on_shapes.reset(token)


def _replica_context() -> Any:
    """The `tf.distribute` replica context, or `None` if there are no other replicas."""
    context = _on_shapes.get()
    if context is None and _TENSORFLOW:
        context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def replica_count() -> int:
    """The number of replicas that run the current step together.

    Returns:
        The number of replicas in sync inside `strategy.run`, and while a trainer's step is traced
        for its shapes; 1 everywhere else: outside a strategy, in a `tf.data` pipeline, on backends
        other than TensorFlow.

    Example:

    >>> from keras_ssl import distribute
    >>> distribute.replica_count()
    1
    """
    context = _replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def replica_index() -> Any:
    """The index of this replica, from 0.

    Returns:
        A scalar int32 tensor inside `strategy.run` with several replicas, else the integer 0.

    Example:

    >>> from keras_ssl import distribute
    >>> distribute.replica_index()
    0
    """
    context = _replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def all_gather(x: Any) -> Any:
    """Concatenate the tensors of all replicas along the first axis, in replica order.

    Gradients flow back to every replica: the gradients of all replicas' losses with respect to
    the gathered tensor are summed and returned to the replicas that the rows came from.

    Args:
        x: tensor of rank 1 or more. All replicas must pass the same shape.

    Returns:
        Tensor whose first axis is `replica_count()` times as long; `x` itself on one replica.

    Example:

    >>> from keras import ops
    >>> from keras_ssl import distribute
    >>> distribute.all_gather(ops.ones((4, 2))).shape
    TensorShape([4, 2])
    """
    context = _replica_context()
    if context is None:
        return x
    gathered = context.all_gather(_on_device(x), axis=0)
    # all replicas pass the same shape, but TensorFlow forgets every size
    rows = x.shape[0]
    total = None if rows is None else rows * context.num_replicas_in_sync
    gathered.set_shape([total, *x.shape[1:]])
    return gathered


def _on_device(x: Any) -> Any:
    """The same tensor, with a device, which the argument of a step does not have.

    With one replica in each of several processes, TensorFlow needs it to gather.
    """
    return x if isinstance(x, keras.KerasTensor) else tf.identity(x)


def all_reduce_sum(x: Any) -> Any:
    """Sum the tensors of all replicas; every replica gets the sum.

    The gradient is the sum of all replicas' gradients, because each of them uses the sum.

    Args:
        x: tensor. All replicas must pass the same shape.

    Returns:
        Tensor of the shape of `x`; `x` itself on one replica.

    Example:

    >>> from keras import ops
    >>> from keras_ssl import distribute
    >>> distribute.all_reduce_sum(ops.ones((4, 2))).shape
    TensorShape([4, 2])
    """
    context = _replica_context()
    return x if context is None else context.all_reduce("SUM", _on_device(x))


def local_rows(global_batch: Any, batch_size: Any) -> Any:
    """The rows of a global batch that belong to this replica.

    Args:
        global_batch: tensor whose first axis is `replica_count() * batch_size` long.
        batch_size: rows per replica.

    Returns:
        The `batch_size` rows of this replica; `global_batch` itself on one replica.

    Example:

    >>> from keras import ops
    >>> from keras_ssl import distribute
    >>> distribute.local_rows(ops.ones((4, 2)), 4).shape
    TensorShape([4, 2])
    """
    context = _replica_context()
    if context is None:
        return global_batch
    start = context.replica_id_in_sync_group * batch_size
    return ops.slice(
        global_batch,
        [start] + [0] * (len(global_batch.shape) - 1),
        [batch_size, *global_batch.shape[1:]],
    )


def draw_per_example(draw: Callable[[Any], Any], batch_size: Any) -> Any:
    """Draw random numbers for this replica's examples, the same as a single replica would draw.

    Replicas hold equal copies of a `keras.random.SeedGenerator`, so all draw the same numbers.
    Here each replica draws for the whole global batch and keeps its own rows: examples get
    independent numbers, and a run on many replicas equals the run on one.

    Args:
        draw: function of a batch size that returns a tensor with that many rows.
        batch_size: number of examples on this replica.

    Returns:
        Tensor of `batch_size` rows.

    Example:

    >>> import keras
    >>> from keras_ssl import distribute
    >>> seed = keras.random.SeedGenerator(0)
    >>> distribute.draw_per_example(lambda n: keras.random.uniform((n, 2), seed=seed), 3).shape
    TensorShape([3, 2])
    """
    return local_rows(draw(batch_size * replica_count()), batch_size)


def skip_overflow_everywhere(
    optimizer: keras.optimizers.Optimizer, gradients: list[Any]
) -> list[Any]:
    """Make gradients NaN on all replicas if those of one replica overflowed in float16.

    Keras' `LossScaleOptimizer` skips a step whose gradients are not finite. It applies each
    replica's own gradients and only checks those of the first one, so an overflow on another
    replica would reach the weights. Gradients are those of `tf.GradientTape`: tensors,
    `tf.IndexedSlices` or `None`. With other optimizers and on one replica they are returned
    unchanged.
    """
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or replica_count() == 1:
        return gradients
    present = [number for number, one in enumerate(gradients) if one is not None]
    finite = [tf.reduce_all(tf.math.is_finite(_values(gradients[number]))) for number in present]
    if not finite:
        return gradients
    overflowed = all_reduce_sum(tf.cast(~tf.reduce_all(tf.stack(finite)), "float32"))
    addend = tf.where(overflowed > 0, float("nan"), 0.0)
    gradients = list(gradients)
    gradients[present[0]] = _add(gradients[present[0]], addend)
    return gradients


def _values(gradient: Any) -> Any:
    return getattr(gradient, "values", gradient)  # of `tf.IndexedSlices`


def _add(gradient: Any, addend: Any) -> Any:
    values = _values(gradient)
    values = values + tf.cast(addend, values.dtype)
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return values
