"""Inspection of how a `tf.data` pipeline shuffles and batches.

Private names of TensorFlow that this file uses (`tests/trainers/engine/test_pipelines.py`):
`_seed` and `_seed2` of datasets that draw random numbers, `_RandomDataset._rerandomize`,
`_BatchDataset._batch_size` and `_drop_remainder`; those of `data/_reading.py` besides. If one is
missing, the functions return `False` or `None`.
"""

from typing import Any

from keras_ssl.data._reading import inputs_of, is_a, walk

_BATCHES = ("BatchDataset", "ParallelBatchDataset")
# those that keep the sizes of all batches that they read
_SAME_BATCHES = (
    "CacheDataset",
    "MapDataset",
    "OptionsDataset",
    "ParallelMapDataset",
    "PrefetchDataset",
    "ShuffleDataset",
)


def shuffles_without_seed(dataset: Any) -> bool:
    """Return whether a `tf.data.Dataset` has a `shuffle` with neither its own nor a global seed.

    Shuffling inside of `flat_map` or `interleave` is not seen, but the random numbers that it may
    start from (`tf.data.Dataset.random`) are.
    """
    seeds = (
        (getattr(one, "_seed", None), getattr(one, "_seed2", None))
        for one in walk(dataset)
        if _draws(one)
    )
    return any(None not in pair and int(pair[0]) == int(pair[1]) == 0 for pair in seeds)


def depends_on_reading(dataset: Any) -> bool:
    """Return whether the order of an epoch depends on whether earlier epochs were read.

    It does if a `tf.data.Dataset` repeats what it has shuffled, since every repetition draws a new
    order, or caches it, since the first order is kept: `shuffle(n).repeat(2)` depends on it,
    `repeat(2).shuffle(n)` does not.
    """
    return any(
        (is_a(one, "Repeat") or is_a(one, "Cache")) and any(_draws(x) for x in walk(one))
        for one in walk(dataset)
    )


def _draws(dataset: Any) -> bool:
    """Return whether a dataset draws something new for each iterator."""
    is_random = is_a(dataset, "Random") and bool(getattr(dataset, "_rerandomize", False))
    return is_random or is_a(dataset, "Shuffle")


def remainder_of(dataset: Any) -> int | None:
    """Return how many examples a `tf.data.Dataset` holds after its last full batch.

    Returns `None` if that cannot be told without reading it.
    """
    while type(dataset).__name__.strip("_") in _SAME_BATCHES:
        (dataset,) = inputs_of(dataset)
    size, drops = (getattr(dataset, name, None) for name in ("_batch_size", "_drop_remainder"))
    if type(dataset).__name__.strip("_") not in _BATCHES or size is None or drops is None:
        return None
    (examples,) = (int(one.cardinality()) for one in inputs_of(dataset))
    if examples < 0 or int(size) < 1:
        return None
    return 0 if bool(drops) else examples % int(size)
