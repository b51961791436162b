"""What a `tf.data` pipeline says of how it shuffles.

Private names of TensorFlow that this file touches (`tests/trainers/engine/test_pipelines.py`):
`Dataset._inputs`, the names of the classes of datasets, `_ShuffleDataset._seed` and `_seed2`, and
`_original_dataset` and `_datasets` of distributed datasets. Where one is missing, nothing is found.
"""

from collections.abc import Iterator
from typing import Any


def _inputs(dataset: Any) -> list[Any]:
    original = getattr(dataset, "_original_dataset", None)
    if original is not None:
        return [original]
    made = getattr(dataset, "_datasets", None)  # by `distribute_datasets_from_function`
    if made is not None:
        return list(made)
    return dataset._inputs() if hasattr(dataset, "_inputs") else []


def _walk(dataset: Any) -> Iterator[Any]:
    """The dataset and all that it reads from."""
    yield dataset
    for one in _inputs(dataset):
        yield from _walk(one)


def _is(dataset: Any, kind: str) -> bool:
    return type(dataset).__name__.strip("_") == f"{kind}Dataset"


def shuffles_without_seed(dataset: Any) -> bool:
    """Whether a pipeline surely shuffles in an order that no seed fixes.

    Args:
        dataset: a `tf.data.Dataset`.

    Returns:
        `True` if there is a `shuffle` without a seed, made while TensorFlow had no global seed.
        `False` says nothing about what is shuffled inside of `flat_map` or `interleave`.

    Example:

    >>> import tensorflow as tf
    >>> from keras_ssl.trainers.engine.pipelines import shuffles_without_seed
    >>> shuffles_without_seed(tf.data.Dataset.range(9).shuffle(9, seed=1).batch(3))
    False
    """
    seeds = (
        (getattr(one, "_seed", None), getattr(one, "_seed2", None))
        for one in _walk(dataset)
        if _is(one, "Shuffle")
    )
    return any(None not in pair and int(pair[0]) == int(pair[1]) == 0 for pair in seeds)


def depends_on_reading(dataset: Any) -> bool:
    """Whether the order of an epoch depends on whether the epochs before were read.

    That is so if a pipeline repeats what it has shuffled, since every repetition draws an order, or
    caches it, since the first order is then kept.

    Args:
        dataset: a `tf.data.Dataset`.

    Returns:
        `True` if it was found to be so.

    Example:

    >>> import tensorflow as tf
    >>> from keras_ssl.trainers.engine.pipelines import depends_on_reading
    >>> depends_on_reading(tf.data.Dataset.range(9).shuffle(9).repeat(2))
    True
    >>> depends_on_reading(tf.data.Dataset.range(9).repeat(2).shuffle(9))
    False
    """
    return any(
        (_is(one, "Repeat") or _is(one, "Cache")) and any(_is(x, "Shuffle") for x in _walk(one))
        for one in _walk(dataset)
    )
