"""Checks of what is to be cut into micro-batches."""

from typing import Any

import keras
import tensorflow as tf

from keras_ssl.trainers.batch import Batch, batch_size_of


def check_rows_of_batch(batch: Batch) -> None:
    """Raise unless everything in a batch has one row an example, so that it can be cut.

    Args:
        batch: the whole batch.

    Raises:
        ValueError: if views, labels or weights have another number of rows than the input.
    """
    examples = batch_size_of(batch)
    for field, structure in zip(Batch._fields, batch, strict=True):
        for leaf in keras.tree.flatten(structure):
            if leaf is None:
                continue
            rows = leaf.shape[0] if len(leaf.shape) else 0
            if None not in (rows, examples) and rows != examples:
                raise ValueError(
                    "`micro_batch_size` needs one row an example in all tensors of a batch; "
                    "several views of an example are several tensors. "
                    f"Expected {examples} rows. "
                    f"Received: shape {tuple(leaf.shape)} in `{field}`"
                )


def check_micro_batch_size(size: Any) -> None:
    """Raise unless `size` is a number of examples or `None`.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is below 1.
    """
    if size is None:
        return
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(
            "`micro_batch_size` must be an integer or None. "
            f"Received: {size!r} of type {type(size)}"
        )
    if size < 1:
        raise ValueError(f"`micro_batch_size` must be at least 1. Received: {size}")


def check_divides(size: int | None, x: Any, batch_size: int | None, replicas: int) -> None:
    """Raise unless micro-batches make up every batch that `fit` will see.

    Args:
        size: examples a micro-batch; `None` where there are none.
        x: what `fit` got. Batches that a generator gives are checked when they come.
        batch_size: examples a batch of arrays; `None` is Keras' 32.
        replicas: how many replicas share a batch.

    Raises:
        ValueError: if a batch has another number of examples, or an unknown one, or arrays do not
            make one full batch.
    """
    if size is None:
        return
    if isinstance(x, tf.data.Dataset):
        batch_size = tf.nest.flatten(x.element_spec)[0].shape[0]
        if batch_size is None:
            raise ValueError(
                "`micro_batch_size` needs batches of one size: use `dataset.batch(n, "
                f"drop_remainder=True)`. Received: batches of unknown size, {x.element_spec}"
            )
    batch_size = batch_size or 32
    check_batch(size, batch_size // replicas)
    leaves = [] if isinstance(x, tf.data.Dataset) else keras.tree.flatten(x)
    examples = getattr(leaves[0], "shape", None) if leaves else None
    if examples and 0 < examples[0] < batch_size:
        raise ValueError(
            "`micro_batch_size` needs full batches. "
            f"Received: {examples[0]} examples and batch_size={batch_size}"
        )


def check_batch(size: int | None, examples: int | None) -> None:
    """Raise unless micro-batches make up a batch of a replica, where its size is known.

    Args:
        size: examples a micro-batch; `None` where there are none.
        examples: examples that the replica got.

    Raises:
        ValueError: if they do not.
    """
    if size is not None and examples is not None and examples > size and examples % size:
        raise ValueError(
            "`micro_batch_size` must divide the batch of one replica, so that all micro-batches "
            f"are full. Received: micro_batch_size={size} and {examples} examples on a replica"
        )
