"""What travels through a training step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras


class Batch(NamedTuple):
    """One batch of data on its way through a step.

    Attributes:
        x: the input as the data gave it.
        views: what the augmentation made of `x`, as a rule a tuple of views; `x` itself where the
            trainer has no augmentation.
        y: the labels, or `None`. No self-supervised loss reads them; the online probe does.
        sample_weight: the weights that came with the data, or `None`.
    """

    x: Any
    views: Any
    y: Any = None
    sample_weight: Any = None


class Update(NamedTuple):
    """One gradient step: what is minimised, over which variables, by which optimizer.

    Attributes:
        compute_losses: function of `(batch, training)` that returns a dictionary of named scalars.
        variables: the variables that the gradient is taken for.
        optimizer: the Keras optimizer that applies it.
        embed: function of `(batch, training)` that returns a dictionary of tensors with one row an
            example, and `losses_of` one of `(embeddings, training)` that returns the named losses.
            `compute_losses` must be the one after the other. With `embed`, the update can go
            through a batch in micro-batches.
        losses_of: see `embed`. `None`: what `embed` returns are losses by example.
    """

    compute_losses: Callable[[Batch, bool], dict[str, Any]]
    variables: list[keras.Variable]
    optimizer: keras.optimizers.Optimizer
    embed: Callable[[Batch, bool], dict[str, Any]] | None = None
    losses_of: Callable[[dict[str, Any], bool], dict[str, Any]] | None = None


def batch_size_of(batch: Batch) -> int | None:
    """How many examples a replica's batch holds, `None` where it is not known before the step."""
    return keras.tree.flatten(batch.x)[0].shape[0]
