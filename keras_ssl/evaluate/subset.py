"""The few-label case: the same number of examples of every class."""

from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate.batches import Batches


def balanced_subset(labels: np.ndarray, labels_per_class: int, seed: int) -> np.ndarray:
    """The places of `labels_per_class` random examples of every class.

    Every example draws a random number; those with the smallest ones of their class are taken.

    Args:
        labels: integer array of shape `(examples,)`.
        labels_per_class: examples of a class.
        seed: the draw's seed.

    Returns:
        Ascending integer array of shape `(classes * labels_per_class,)`.

    Raises:
        ValueError: if a class has fewer examples.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.evaluate.subset import balanced_subset
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> labels[balanced_subset(labels, labels_per_class=2, seed=0)]
    array([0, 0, 1, 1])
    """
    checks.integer("labels_per_class", labels_per_class, minimum=1)
    priorities = np.random.default_rng(seed).random(len(labels))
    chosen = _smallest(labels, priorities, labels_per_class)
    _check_complete(labels[chosen], labels_per_class)
    return chosen


def take_balanced(data: Batches, labels_per_class: int, seed: int) -> tuple[Any, np.ndarray]:
    """The examples themselves, chosen as `balanced_subset` does, in one pass over the data.

    Args:
        data: labelled batches.
        labels_per_class: examples of a class.
        seed: the draw's seed.

    Returns:
        Arrays `(x, y)`. At no time are more held than these and one batch.

    Raises:
        ValueError: if a class has fewer examples.
    """
    checks.integer("labels_per_class", labels_per_class, minimum=1)
    random = np.random.default_rng(seed)
    kept = None
    for x, y in data:
        batch = keras.tree.map_structure(np.asarray, (x, y, random.random(len(y))))
        if kept is not None:
            batch = keras.tree.map_structure(lambda *pair: np.concatenate(pair), kept, batch)
        chosen = _smallest(batch[1], batch[2], labels_per_class)
        kept = keras.tree.map_structure(lambda array, rows=chosen: array[rows], batch)
    _check_complete(kept[1], labels_per_class)
    return kept[0], kept[1]


def _smallest(labels: np.ndarray, priorities: np.ndarray, count: int) -> np.ndarray:
    by_class = (np.flatnonzero(labels == label) for label in np.unique(labels))
    chosen = [places[np.argsort(priorities[places])[:count]] for places in by_class]
    return np.sort(np.concatenate(chosen))


def _check_complete(labels: np.ndarray, labels_per_class: int) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < labels_per_class:
        poorest = counts.argmin()
        raise ValueError(
            "`labels_per_class` must not exceed the examples of any class. "
            f"Received: {labels_per_class}, but class {classes[poorest]} has {counts[poorest]}"
        )
