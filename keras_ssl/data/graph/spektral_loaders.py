"""Spektral's loaders as `tf.data`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tensorflow as tf


_NEEDED = ("load", "collate", "generator", "tf_signature", "steps_per_epoch")


def is_spektral_loader(value: Any) -> bool:
    """Whether an object has the methods and attributes of a Spektral loader."""
    return all(hasattr(value, name) for name in _NEEDED)


def from_spektral_loader(loader: Any, node_mask: bool = True) -> tf.data.Dataset:
    """Create a dataset of one epoch of a Spektral loader.

    Keras 3 does not take `BatchLoader`, `PackedBatchLoader` and `MixedLoader`, and needs the number
    of steps for the others. This dataset has a known length and is restarted, and shuffled by the
    loader, in every epoch: `model.fit(from_spektral_loader(loader), epochs=10)`. The loader's own
    number of epochs is ignored.

    `BatchLoader` and `PackedBatchLoader` pad graphs to the same number of nodes. With `node_mask`,
    the inputs end with a mask of the nodes, as those of `data.padded_batches`, unless all graphs
    have the same size. Their option `mask=True` writes it to the last column of `x`, from which it
    is removed. Without that option, a packed loader no longer knows the sizes of its graphs: then
    rows at the end that are zeros and have no edges are padding.

    Args:
        loader: `spektral.data.SingleLoader`, `DisjointLoader`, `BatchLoader`, `PackedBatchLoader`,
            `MixedLoader`, or a subclass with its own `collate` and `tf_signature`.
        node_mask: whether to give the mask of padded graphs. `False` leaves batches as Spektral
            makes them.

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
    is_padded = bool(node_mask) and _is_padded(loader)
    yielded = _with_mask_spec(signature, loader.mask) if is_padded else signature

    def epoch() -> Iterator[Any]:
        batches = loader.generator()
        for _ in range(steps):
            batch = next(batches)
            # packed batches have lists where their signature has tuples
            parts = tf.nest.flatten(loader.collate(batch))
            element = tf.nest.pack_sequence_as(signature, parts)
            yield _with_mask(element, batch, loader.mask) if is_padded else element

    dataset = tf.data.Dataset.from_generator(epoch, output_signature=yielded)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps))


def _signature(loader: Any) -> Any:
    """Return the loader's signature, and restore the state that `BatchLoader` changes for it."""
    remembered = copy.deepcopy(getattr(loader, "signature", None))
    signature = loader.tf_signature()
    if remembered is not None:
        loader.signature = remembered
    return signature


def _is_padded(loader: Any) -> bool:
    """Whether a loader makes batches `(x, a, ...)` in which some graphs are padded."""
    collate = getattr(type(loader).collate, "__qualname__", "")
    if collate not in ("BatchLoader.collate", "PackedBatchLoader.collate"):
        return False  # also of a subclass, whose batches may be anything
    if not {"x", "a"} <= set(loader.signature):
        return False
    if loader.mask:
        return True
    if isinstance(loader.dataset, tuple):  # of a packed loader
        return not _nodes_of_packed(*loader.dataset[:2]).all()
    return len({graph.n_nodes for graph in loader.dataset}) > 1


def _nodes_of_packed(x: Any, a: Any) -> np.ndarray:
    """Return booleans `(batch, nodes)`: all rows up to the last that is not zeros or has edges."""
    x, a = np.asarray(x), np.asarray(a)
    is_used = (x != 0).any(axis=-1) | (a != 0).any(axis=-1) | (a != 0).any(axis=-2)
    is_used[:, 0] = True  # a graph has nodes
    return np.flip(np.logical_or.accumulate(np.flip(is_used, axis=1), axis=1), axis=1)


def _with_mask(element: Any, batch: Any, has_column: bool) -> Any:
    """Append the mask of nodes to the inputs, and remove it from the features."""
    inputs, *labels = element if isinstance(element[0], (tuple, list)) else (element,)
    x, *others = inputs
    if has_column:
        x, mask = x[..., :-1], np.asarray(x[..., -1]) != 0
    elif hasattr(batch[0], "n_nodes"):  # a list of graphs
        counts = np.array([graph.n_nodes for graph in batch])
        mask = np.arange(x.shape[1]) < counts[:, None]
    else:
        mask = _nodes_of_packed(x, others[0])
    inputs = (x, *others, mask)
    return (inputs, *labels) if labels else inputs


def _with_mask_spec(signature: Any, has_column: bool) -> Any:
    """Return the signature of what `_with_mask` returns."""
    import tensorflow as tf

    inputs, *labels = signature if isinstance(signature[0], (tuple, list)) else (signature,)
    x, *others = inputs
    if has_column:
        x = tf.TensorSpec([*x.shape[:-1], x.shape[-1] - 1], x.dtype)
    inputs = (x, *others, tf.TensorSpec([None, None], tf.bool))
    return (inputs, *labels) if labels else inputs
