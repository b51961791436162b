"""Spektral's loaders as `tf.data`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tensorflow as tf


_NEEDED = ("load", "collate", "generator", "tf_signature", "steps_per_epoch")


def is_spektral_loader(value: Any) -> bool:
    """Whether an object has the methods and attributes of a Spektral loader."""
    return all(hasattr(value, name) for name in _NEEDED)


def from_spektral_loader(loader: Any) -> tf.data.Dataset:
    """Create a dataset of one epoch of a Spektral loader.

    Keras 3 does not take `BatchLoader`, `PackedBatchLoader` and `MixedLoader`, and needs the number
    of steps for the others. This dataset has a known length and is restarted, and shuffled by the
    loader, in every epoch: `model.fit(from_spektral_loader(loader), epochs=10)`. The loader's own
    number of epochs is ignored.

    Args:
        loader: `spektral.data.SingleLoader`, `DisjointLoader`, `BatchLoader`, `PackedBatchLoader`,
            `MixedLoader`, or a subclass with its own `collate` and `tf_signature`.

    Returns:
        `tf.data.Dataset` of the loader's batches.

    Raises:
        TypeError: if `loader` is not a Spektral loader.

    Example:

    >>> from keras_ssl import data
    >>> data.from_spektral_loader([1, 2])
    Traceback (most recent call last):
    ...
    TypeError: `loader` must be a Spektral loader. Received: [1, 2] of type <class 'list'>
    """
    import tensorflow as tf

    if not is_spektral_loader(loader):
        raise TypeError(
            f"`loader` must be a Spektral loader. Received: {loader!r} of type {type(loader)}"
        )
    steps = loader.steps_per_epoch
    loaded = loader.load()
    if isinstance(loaded, tf.data.Dataset) and loaded.cardinality() != tf.data.UNKNOWN_CARDINALITY:
        return loaded.take(steps)  # `SingleLoader`, which repeats one graph

    signature = _signature(loader)

    def epoch() -> Iterator[Any]:
        batches = loader.generator()
        for _ in range(steps):
            # packed batches have lists where their signature has tuples
            parts = tf.nest.flatten(loader.collate(next(batches)))
            yield tf.nest.pack_sequence_as(signature, parts)

    dataset = tf.data.Dataset.from_generator(epoch, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps))


def _signature(loader: Any) -> Any:
    """Return the loader's signature, and restore the state that `BatchLoader` changes for it."""
    remembered = copy.deepcopy(getattr(loader, "signature", None))
    signature = loader.tf_signature()
    if remembered is not None:
        loader.signature = remembered
    return signature
