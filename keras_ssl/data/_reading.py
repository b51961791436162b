"""Which data sets a `tf.data.Dataset` reads from.

Private names of TensorFlow that this file uses (`tests/trainers/engine/test_pipelines.py`):
`Dataset._inputs`, the names of the classes of datasets, and `_original_dataset` and `_datasets` of
distributed datasets. If one is missing, nothing more is found.
"""

from collections.abc import Iterator
from typing import Any


def inputs_of(dataset: Any) -> list[Any]:
    """Return the datasets that a dataset reads from directly."""
    original = getattr(dataset, "_original_dataset", None)
    if original is not None:
        return [original]
    datasets = getattr(dataset, "_datasets", None)  # `distribute_datasets_from_function`
    if datasets is not None:
        return list(datasets)
    return dataset._inputs() if hasattr(dataset, "_inputs") else []


def walk(dataset: Any) -> Iterator[Any]:
    """Yield a dataset and all datasets that it reads from."""
    yield dataset
    for one in inputs_of(dataset):
        yield from walk(one)


def is_a(dataset: Any, kind: str) -> bool:
    """Return whether a dataset is of a kind of `tf.data`, such as `"Shuffle"`."""
    return type(dataset).__name__.strip("_") == f"{kind}Dataset"
