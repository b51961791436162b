"""Each worker's own rows of the same global batches.

All workers iterate over equal batches in equal order, and each takes the rows of its replicas, in
the order of replicas: worker 0 has the first rows. So each example is seen once per epoch, for any
number of workers, and a step on many workers equals the step of one device on the same batch.

Uses a private name of TensorFlow: `_cardinality` of a distributed dataset, which is wrong if a
process has several replicas. `tests/distribute/test_worker_batches.py` fails if it disappears.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.distribute.workers import is_multi_worker, worker_count, worker_index

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def shard_batches(
    dataset: tf.data.Dataset,
    batch_size: int,
    map: Callable[..., Any] | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> Any:
    """Make batches of which each worker only decodes its own rows.

    Every worker reads all of a dataset of batches and then keeps its rows, so with many workers
    each decodes all images to train on few. Here examples are divided among the workers first, and
    the expensive `map` runs on a worker's own examples. `fit` sees the same global batches, with
    each example once per epoch; last examples that do not fill a batch are left out.

    Args:
        dataset: a `tf.data.Dataset` of single examples that are cheap to read: file names, encoded
            bytes, rows of a table. It must be shuffled already, in the same order in all workers.
        batch_size: examples per batch, over all replicas.
        map: function of one example, as in `tf.data.Dataset.map`. If it draws random numbers, the
            run no longer equals that of one device. `None`: examples are not changed.
        strategy: the strategy to train under; by default the one in whose scope this is called.

    Returns:
        A `tf.data.Dataset` of batches, or with several workers a
        `tf.distribute.DistributedDataset`, for `fit` and `evaluate` of models that mix in
        `DistributedFit`.

    Raises:
        ValueError: if `batch_size` is not divisible by the number of replicas.

    Example:

    >>> import tensorflow as tf
    >>> from keras_ssl import distribute
    >>> examples = tf.data.Dataset.range(10)
    >>> batches = distribute.shard_batches(examples, 4, map=lambda x: 2 * x)
    >>> [batch.numpy().tolist() for batch in batches]
    [[0, 2, 4, 6], [8, 10, 12, 14]]
    """
    checks.tensorflow_backend("Batches of several workers")
    strategy = tf.distribute.get_strategy() if strategy is None else strategy
    replicas = strategy.num_replicas_in_sync
    check_divisible(batch_size, replicas)
    index, workers = _index_and_count(strategy)
    if workers > 1:
        dataset = _own_examples(dataset, batch_size, workers, index)
    if map is not None:
        dataset = dataset.map(map, num_parallel_calls=tf.data.AUTOTUNE)
    batches = dataset.batch(batch_size // workers, drop_remainder=True)
    if workers > 1:
        return _distribute(batches, strategy, replicas // workers)
    return batches.prefetch(tf.data.AUTOTUNE)


def distribute_batches(dataset: tf.data.Dataset, strategy: tf.distribute.Strategy) -> Any:
    """This worker's rows of a dataset of global batches, as a `tf.distribute.DistributedDataset`.

    The batches have a static size that the number of replicas divides.
    """
    index, workers = _index_and_count(strategy)
    size = static_batch_size(dataset)
    rows = size // workers

    def own_rows(*batch: Any) -> Any:
        # a dataset of tuples passes their parts as arguments
        batch = batch if isinstance(dataset.element_spec, tuple) else batch[0]
        return tf.nest.map_structure(lambda x: x[index * rows : (index + 1) * rows], batch)

    share = dataset.map(own_rows, num_parallel_calls=tf.data.AUTOTUNE)
    return _distribute(share, strategy, strategy.num_replicas_in_sync // workers)


def _index_and_count(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """The index of this worker and the number of workers."""
    if is_multi_worker(strategy):
        return worker_index(strategy), worker_count(strategy)
    return 0, 1


def static_batch_size(dataset: tf.data.Dataset) -> int | None:
    """The size of every batch of a dataset, or `None` if it is not known."""
    sizes = {spec.shape[0] for spec in tf.nest.flatten(dataset.element_spec) if spec.shape.rank}
    return sizes.pop() if len(sizes) == 1 else None


def check_divisible(size: int, replicas: int, name: str = "x") -> None:
    """Raise a `ValueError` unless the replicas divide the batch size of the argument `name`."""
    if size % replicas:
        of_name = "" if name == "x" else f" of `{name}`"
        raise ValueError(
            f"The batch size{of_name} must be divisible by the number of replicas, {replicas}. "
            f"Received: batch_size={size}"
        )


def _own_examples(
    dataset: tf.data.Dataset, batch_size: int, workers: int, index: int
) -> tf.data.Dataset:
    """The examples in a worker's own rows of global batches."""
    rows = batch_size // workers

    # full batches only, so that all workers have equally many; elements may differ in shape
    def own(*parts: Any) -> tf.data.Dataset:
        parts = parts if isinstance(dataset.element_spec, tuple) else parts[0]
        return tf.data.Dataset.zip(parts).skip(index * rows).take(rows)

    shares = dataset.window(batch_size, drop_remainder=True).flat_map(own)
    batches = int(dataset.cardinality())
    known = batches >= 0
    count = batches // batch_size * rows if known else batches
    return shares.apply(tf.data.experimental.assert_cardinality(count)) if known else shares


def _distribute(share: tf.data.Dataset, strategy: tf.distribute.Strategy, local: int) -> Any:
    """Distribute this worker's batches over its local replicas."""
    options = tf.data.Options()
    options.deterministic = True  # workers must agree on the order
    share = share.with_options(options)
    count = share.cardinality().numpy()
    if local > 1:
        size = static_batch_size(share)
        share = share.rebatch(size // local, drop_remainder=True)
    share = share.prefetch(tf.data.AUTOTUNE)
    # All workers have equally many batches of one shape. Without this option TensorFlow would ask
    # all of them before each step whether one has run out, and forget the size of the batch.
    extended = strategy.extended
    asks = extended.experimental_enable_get_next_as_optional
    extended.experimental_enable_get_next_as_optional = False
    try:
        distributed = strategy.distribute_datasets_from_function(lambda context: share)
    finally:
        extended.experimental_enable_get_next_as_optional = asks
    if local > 1:
        distributed._cardinality = count  # in steps: TensorFlow counts the replicas' batches
    return distributed
