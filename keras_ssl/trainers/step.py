"""What a training step passes from one of its parts to the next."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ssl import distribute


class Batch(NamedTuple):
    """One batch of data during a training step.

    Attributes:
        x: the input as the data gave it.
        views: what the augmentation made of `x`, usually a tuple of views; `x` itself if the
            trainer has no augmentation.
        y: the labels, or `None`. Self-supervised losses do not read them; the online probe does.
        sample_weight: the weights that came with the data, or `None`.
    """

    x: Any
    views: Any
    y: Any = None
    sample_weight: Any = None


class Update(NamedTuple):
    """One gradient step: what to minimise, over which variables, with which optimizer.

    Attributes:
        compute_losses: function of `(batch, training)` that returns a dictionary of named losses.
        variables: the variables to differentiate with respect to.
        optimizer: the Keras optimizer that applies the gradients.
        embed: function of `(batch, training)` that returns a dictionary of tensors with one row
            per example. `compute_losses` must be `losses_of` applied to its result. An update
            with `embed` can process the batch in micro-batches.
        losses_of: function of `(embeddings, training)` that returns the named losses. `None`
            means that what `embed` returns are the losses, one row per example.
        steps: how many gradient steps to take one after the other on a batch, such as those of a
            discriminator. The losses of the last one are recorded.
    """

    compute_losses: Callable[[Batch, bool], dict[str, Any]]
    variables: list[keras.Variable]
    optimizer: keras.optimizers.Optimizer
    embed: Callable[[Batch, bool], dict[str, Any]] | None = None
    losses_of: Callable[[dict[str, Any], bool], dict[str, Any]] | None = None
    steps: int = 1


class StepResult(NamedTuple):
    """What computing an update gives.

    Attributes:
        losses: the named losses, each this replica's share of the global mean.
        total: their weighted sum with regularisation, a scalar.
        representation: features of the batch for the online probe, or `None`.
        gradients: gradients of `total`, scaled by the optimizer's loss scale, in the order of the
            update's variables; `None` if none were asked for.
    """

    losses: dict[str, Any]
    total: Any
    representation: Any = None
    gradients: list[Any] | None = None


def replica_share(loss: Any) -> Any:
    """Return this replica's share of a loss, so that the sum over replicas is the global mean."""
    loss = ops.cast(loss, "float32")
    # Keras losses are scalars that Keras has already divided by the number of replicas
    return ops.mean(loss) / distribute.replica_count() if len(loss.shape) else loss


def concatenate(views: Any) -> Any:
    """Concatenate views along the batch axis; views may be nested structures of tensors."""
    return keras.tree.map_structure(lambda *leaves: ops.concatenate(leaves, axis=0), *views)


def batch_size_of(x: Any) -> int | None:
    """Return the static batch size of a structure of tensors, `None` if it is unknown."""
    return keras.tree.flatten(x)[0].shape[0]
