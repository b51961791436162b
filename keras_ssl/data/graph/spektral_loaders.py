"""Spektral's loaders as `tf.data`, which `fit` of every Keras model takes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tensorflow as tf


_NEEDED = ("load", "collate", "generator", "tf_signature", "steps_per_epoch")


def is_spektral_loader(value: Any) -> bool:
    """Whether something has what Spektral's loaders have.

    Args:
        value: anything.

    Returns:
        `True` if it can be given to `from_spektral_loader`.
    """
    return all(hasattr(value, name) for name in _NEEDED)


def from_spektral_loader(loader: Any) -> tf.data.Dataset:
    """Make a data set of one epoch of a loader of Spektral.

    Keras 3 takes no `BatchLoader`, `PackedBatchLoader` or `MixedLoader`, which are iterators of
    their own kind, and for the others it must be told the number of steps. This data set has a
    known length and starts anew, shuffled by the loader, in every epoch:
    `model.fit(from_spektral_loader(loader), epochs=10)`. The number of epochs that the loader was
    given does not count.

    Args:
        loader: `spektral.data.SingleLoader`, `DisjointLoader`, `BatchLoader`, `PackedBatchLoader`,
            `MixedLoader`, or a subclass with its own `collate` and `tf_signature`.

    Returns:
        `tf.data.Dataset` of what the loader gives.

    Raises:
        TypeError: if `loader` is none.

    Example:

    >>> from keras_ssl import data
    >>> data.from_spektral_loader([1, 2])
    Traceback (most recent call last):
    ...
    TypeError: `loader` must be a loader of Spektral. Received: [1, 2] of type <class 'list'>
    """
    import tensorflow as tf

    if not is_spektral_loader(loader):
        raise TypeError(
            f"`loader` must be a loader of Spektral. Received: {loader!r} of type {type(loader)}"
        )
    steps = loader.steps_per_epoch
    loaded = loader.load()
    if isinstance(loaded, tf.data.Dataset) and loaded.cardinality() != tf.data.UNKNOWN_CARDINALITY:
        return loaded.take(steps)  # one graph, over and over: its tensors stay as they are

    signature = _signature(loader)

    def epoch() -> Iterator[Any]:
        batches = loader.generator()
        for _ in range(steps):
            # a packed batch has lists where its signature has tuples
            parts = tf.nest.flatten(loader.collate(next(batches)))
            yield tf.nest.pack_sequence_as(signature, parts)

    dataset = tf.data.Dataset.from_generator(epoch, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps))


def _signature(loader: Any) -> Any:
    """The loader's signature; asking a `BatchLoader` for it adds an axis to what it remembers."""
    remembered = copy.deepcopy(getattr(loader, "signature", None))
    signature = loader.tf_signature()
    if remembered is not None:
        loader.signature = remembered
    return signature
