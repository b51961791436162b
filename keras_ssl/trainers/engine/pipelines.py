"""Inspection of how a `tf.data` pipeline shuffles and batches.

Private names of TensorFlow that this file uses (`tests/trainers/engine/test_pipelines.py`):
`Dataset._inputs`, the names of the classes of datasets, `_ShuffleDataset._seed` and `_seed2`, and
`_original_dataset` and `_datasets` of distributed datasets, `_BatchDataset._batch_size` and
`_drop_remainder`. If one is missing, the functions return `False` or `None`.
"""

from collections.abc import Iterator
from typing import Any

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


def _inputs(dataset: Any) -> list[Any]:
    original = getattr(dataset, "_original_dataset", None)
    if original is not None:
        return [original]
    datasets = getattr(dataset, "_datasets", None)  # `distribute_datasets_from_function`
    if datasets is not None:
        return list(datasets)
    return dataset._inputs() if hasattr(dataset, "_inputs") else []


def _walk(dataset: Any) -> Iterator[Any]:
    """Yield a dataset and all datasets that it reads from."""
    yield dataset
    for one in _inputs(dataset):
        yield from _walk(one)


def _is(dataset: Any, kind: str) -> bool:
    return type(dataset).__name__.strip("_") == f"{kind}Dataset"


def shuffles_without_seed(dataset: Any) -> bool:
    """Return whether a `tf.data.Dataset` has a `shuffle` with neither its own nor a global seed.

    Shuffling inside of `flat_map` or `interleave` is not seen.
    """
    seeds = (
        (getattr(one, "_seed", None), getattr(one, "_seed2", None))
        for one in _walk(dataset)
        if _is(one, "Shuffle")
    )
    return any(None not in pair and int(pair[0]) == int(pair[1]) == 0 for pair in seeds)


def depends_on_reading(dataset: Any) -> bool:
    """Return whether the order of an epoch depends on whether earlier epochs were read.

    It does if a `tf.data.Dataset` repeats what it has shuffled, since every repetition draws a new
    order, or caches it, since the first order is kept: `shuffle(n).repeat(2)` depends on it,
    `repeat(2).shuffle(n)` does not.
    """
    return any(
        (_is(one, "Repeat") or _is(one, "Cache")) and any(_is(x, "Shuffle") for x in _walk(one))
        for one in _walk(dataset)
    )


def remainder_of(dataset: Any) -> int | None:
    """Return how many examples a `tf.data.Dataset` holds after its last full batch.

    Returns `None` if that cannot be told without reading it.
    """
    while type(dataset).__name__.strip("_") in _SAME_BATCHES:
        (dataset,) = _inputs(dataset)
    size, drops = (getattr(dataset, name, None) for name in ("_batch_size", "_drop_remainder"))
    if type(dataset).__name__.strip("_") not in _BATCHES or size is None or drops is None:
        return None
    (examples,) = (int(one.cardinality()) for one in _inputs(dataset))
    if examples < 0 or int(size) < 1:
        return None
    return 0 if bool(drops) else examples % int(size)
