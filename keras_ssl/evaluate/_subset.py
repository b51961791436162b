"""Random subsets with the same number, or the same share, of examples of every class."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import Batches
from keras_ssl.evaluate._labels import is_labelled


def balanced_subset(labels: np.ndarray, labels_per_class: int, seed: int) -> np.ndarray:
    """Return the sorted indices of `labels_per_class` random examples of every class.

    Every example draws a random number; the smallest ones of each class are chosen. Examples
    without a label, which is -1, never are. Raise a `ValueError` if a class has too few examples.
    """
    checks.integer("labels_per_class", labels_per_class, minimum=1)
    priorities = np.random.default_rng(seed).random(len(labels))
    chosen = _smallest(labels, priorities, lambda count: labels_per_class)
    _check_complete(labels[chosen], labels_per_class)
    return chosen


def take_balanced(data: Batches, labels_per_class: int, seed: int) -> tuple[Any, np.ndarray]:
    """Return the examples `(x, y)` that `balanced_subset` chooses, in one pass over the data.

    Only these and one batch are held in memory.
    """
    checks.integer("labels_per_class", labels_per_class, minimum=1)
    random = np.random.default_rng(seed)
    kept = None
    for x, y in data:
        batch = keras.tree.map_structure(np.asarray, (x, y, random.random(len(y))))
        if kept is not None:
            batch = keras.tree.map_structure(lambda *pair: np.concatenate(pair), kept, batch)
        chosen = _smallest(batch[1], batch[2], lambda count: labels_per_class)
        kept = keras.tree.map_structure(lambda array, rows=chosen: array[rows], batch)
    _check_complete(kept[1], labels_per_class)
    return kept[0], kept[1]


def stratified_subset(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return the sorted indices of a random share of every class, one example at least.

    Of one seed, the subset of a smaller share is part of that of a larger one. Examples without a
    label, which is -1, are never chosen.
    """
    priorities = np.random.default_rng(seed).random(len(labels))
    return _smallest(labels, priorities, lambda count: max(1, round(share * count)))


def _smallest(
    labels: np.ndarray, priorities: np.ndarray, count: Callable[[int], int]
) -> np.ndarray:
    classes = np.unique(labels[is_labelled(labels)])
    by_class = [np.flatnonzero(labels == label) for label in classes]
    chosen = [np.array([], int)]
    chosen += [rows[np.argsort(priorities[rows])[: count(len(rows))]] for rows in by_class]
    return np.sort(np.concatenate(chosen))


def _check_complete(labels: np.ndarray, labels_per_class: int) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    if not len(counts):
        raise ValueError("`train` must hold examples with a label. Received: none")
    if counts.min() < labels_per_class:
        rarest = counts.argmin()
        raise ValueError(
            "`labels_per_class` must not exceed the examples of any class. "
            f"Received: {labels_per_class}, but class {classes[rarest]} has {counts[rarest]}"
        )
