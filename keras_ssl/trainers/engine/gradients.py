"""Gradients of an update, for the whole batch at once or in micro-batches.

`differentiate`, `input_gradient` and `MicroBatches` are those of the backend.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl._keras_internals import all_layers, forget_losses, global_seed_state
from keras_ssl._tensorflow import is_dataset
from keras_ssl.trainers.engine.fit import is_eager
from keras_ssl.trainers.step import Batch, StepResult, Update, batch_size_of

if keras.backend.backend() == "jax":
    from keras_ssl.trainers.engine.jax.differentiation import (
        differentiate,
        differentiate_with,
        input_gradient,
    )
    from keras_ssl.trainers.engine.jax.micro_batches import MicroBatches
else:
    from keras_ssl.trainers.engine.tensorflow.micro_batches import MicroBatches
    from keras_ssl.trainers.engine.tensorflow.tape import (
        differentiate,
        differentiate_with,
        input_gradient,
    )

__all__ = [
    "CachedGradients",
    "PlainGradients",
    "closure",
    "differentiate",
    "differentiate_with",
    "input_gradient",
    "mean_over_replicas",
]


class PlainGradients:
    """Computes the losses and gradients of an update for the whole batch at once."""

    def prepare(self, x: Any, training: bool = True) -> None:
        """Prepare for batches of these shapes, before the first step."""

    def check_divides(self, x: Any, batch_size: int | None, replicas: int) -> None:
        """Raise a `ValueError` if `fit` cannot make suitable batches of the data `x`."""

    def losses(
        self, trainer: keras.Model, update: Update, batch: Batch, training: bool = False
    ) -> StepResult:
        """Compute the losses of an update."""
        forget_losses(trainer)
        losses = dict(update.compute_losses(batch, training))
        features = losses.pop("representation", None)
        return StepResult(*trainer.total_loss(update, losses), features)

    def __call__(self, trainer: keras.Model, update: Update, batch: Batch) -> StepResult:
        """Compute the losses of an update in training mode, and their gradients."""

        def compute() -> tuple[Any, StepResult]:
            result = self.losses(trainer, update, batch, training=True)
            return update.optimizer.scale_loss(result.total), result

        result, gradients = differentiate(compute, update.variables)
        return result._replace(gradients=gradients)


class CachedGradients(PlainGradients):
    """Computes the losses and gradients of an update in micro-batches, to save memory.

    Embeds the batch in micro-batches, takes the gradient of the losses with respect to the
    embeddings, and propagates it to the variables, again in micro-batches. If the losses are
    values per example, gradients are accumulated in one pass. See `MicroBatches`.

    Args:
        micro_batch_size: number of examples that a replica embeds at a time, at least 1.
    """

    def __init__(self, micro_batch_size: int):
        self.size = checks.integer("micro_batch_size", micro_batch_size, 1)
        self._global_seed_state = None

    def prepare(self, x: Any, training: bool = True) -> None:
        """Prepare for batches of these shapes, before the first step."""
        # Within a step, the global state cannot be found; on JAX, no step may draw from it.
        if keras.backend.backend() != "jax":
            self._global_seed_state = global_seed_state()
        if training:  # evaluation takes any batch, since it keeps no activations
            self._check_batch(batch_size_of(x))

    def check_divides(self, x: Any, batch_size: int | None, replicas: int) -> None:
        """Raise a `ValueError` if a batch of `x` cannot be split into full micro-batches.

        Batches of a generator are checked as they come.

        Args:
            x: the data of `fit`.
            batch_size: number of examples per batch of arrays; `None` is Keras' 32.
            replicas: number of replicas that share a batch.
        """
        holds_batches = is_dataset(x)
        if holds_batches:
            batch_size = keras.tree.flatten(x.element_spec)[0].shape[0]
            if batch_size is None:
                raise ValueError(
                    "`micro_batch_size` needs batches of one size: use `dataset.batch(n, "
                    f"drop_remainder=True)`. Received: batches of unknown size, {x.element_spec}"
                )
        leaves = [] if holds_batches else keras.tree.flatten(x)
        examples = getattr(leaves[0], "shape", None) if leaves else None
        if not holds_batches and not examples:
            return
        batch_size = batch_size or 32
        self._check_batch(batch_size // replicas)
        if examples and 0 < examples[0] < batch_size:
            raise ValueError(
                "`micro_batch_size` needs full batches. "
                f"Received: {examples[0]} examples and batch_size={batch_size}"
            )

    def _check_batch(self, examples: int | None) -> None:
        """Raise a `ValueError` if the size of a replica's batch is known and not divisible."""
        if examples is not None and examples > self.size and examples % self.size:
            raise ValueError(
                "`micro_batch_size` must divide the batch of one replica, so that all "
                f"micro-batches are full. Received: micro_batch_size={self.size} and {examples} "
                "examples on a replica"
            )

    def losses(
        self, trainer: keras.Model, update: Update, batch: Batch, training: bool = False
    ) -> StepResult:
        """Compute the losses of an update; in one part if the batch is not divisible."""
        examples = batch_size_of(batch.x)
        if examples is None or examples <= self.size or examples % self.size:
            return super().losses(trainer, update, batch, training)
        embedded = self._parts(trainer, update, batch, training).embed_all()
        return self._result(trainer, update, *embedded, training)

    def __call__(self, trainer: keras.Model, update: Update, batch: Batch) -> StepResult:
        """Compute the losses of an update in training mode, and their gradients."""
        examples = batch_size_of(batch.x)
        self._check_batch(examples)
        if examples is not None and examples <= self.size:
            return super().__call__(trainer, update, batch)
        parts = self._parts(trainer, update, batch, training=True)
        if update.losses_of is None:
            return self._accumulated(trainer, update, parts)
        before = parts.read_state()
        embedded = parts.embed_all()
        leaves = keras.tree.flatten(embedded)
        are_floats = [_is_float(leaf) for leaf in leaves]

        def compute(*floats: Any) -> tuple[Any, StepResult]:
            taken = iter(floats)
            every = [next(taken) if f else one for f, one in zip(are_floats, leaves, strict=True)]
            found = keras.tree.pack_sequence_as(embedded, every)
            result = self._result(trainer, update, *found, training=True)
            return update.optimizer.scale_loss(result.total), result

        floats = [leaf for is_float, leaf in zip(are_floats, leaves, strict=True) if is_float]
        result, direct, of_floats = differentiate_with(compute, update.variables, floats)
        of_floats = iter(of_floats)
        upstream = [next(of_floats) if is_float else None for is_float in are_floats]
        after = parts.read_state()
        parts.write_state(before)
        through = parts.gradients(update.variables, upstream)
        parts.write_state(after)
        gradients = [_sum_of(*pair) for pair in zip(direct, through, strict=True)]
        return result._replace(gradients=gradients)

    def _accumulated(self, trainer: keras.Model, update: Update, parts: MicroBatches) -> StepResult:
        """Return the result for losses per example, whose mean is the mean over micro-batches."""

        def scaled_total(embeddings: dict, added: Any) -> Any:
            total = self._result(trainer, update, embeddings, added, training=True).total
            return update.optimizer.scale_loss(total)

        embedded, gradients = parts.embed_and_differentiate(scaled_total, update.variables)
        result = self._result(trainer, update, *embedded, training=True)
        return result._replace(gradients=gradients)

    def _parts(
        self, trainer: keras.Model, update: Update, batch: Batch, training: bool
    ) -> MicroBatches:
        def embed(part: Batch) -> tuple[dict[str, Any], Any]:
            forget_losses(trainer)
            embeddings = update.embed(part, training)
            return embeddings, ops.reshape(sum(trainer.added_losses(), ops.zeros(())), (1,))

        _check_rows(batch)
        unroll = is_eager() or _exchanges_within(trainer)
        return MicroBatches(batch, self.size, embed, self._changeable(trainer), unroll)

    def _changeable(self, trainer: keras.Model) -> list[keras.Variable]:
        """Return all variables that `embed` may change."""
        # weights too, which layers such as `SpectralNormalization` change
        found = [*trainer.variables, *trainer.metrics_variables]
        state, strategy = self._global_seed_state, trainer.distribute_strategy
        # a state that all replicas share cannot be reset while another replica draws
        if state is not None and (
            strategy.num_replicas_in_sync == 1
            or strategy.extended.variable_created_in_scope(state.value)
        ):
            found.append(state)
        return found

    def _result(
        self, trainer: keras.Model, update: Update, embeddings: dict, added: Any, training: bool
    ) -> StepResult:
        forget_losses(trainer)
        embeddings = dict(embeddings)
        features = embeddings.pop("representation", None)
        losses = embeddings if update.losses_of is None else update.losses_of(embeddings, training)
        return StepResult(*trainer.total_loss(update, dict(losses), added), features)


def closure(
    gradients: PlainGradients, trainer: keras.Model, update: Update, batch: Batch
) -> Callable[[], list[Any]]:
    """Make a function that returns the gradients of an update at the current weights.

    For optimizers with `apply_with_closure(gradients, variables, closure)`, such as
    sharpness-aware ones, which need the gradient of the same batch at other weights. Every call
    draws random numbers and updates state (moving statistics, queues) as another step would.

    Gradients are means over the replicas, equal on all, so that all replicas change weights alike;
    Keras' `apply` sums them again.
    """
    return lambda: mean_over_replicas(gradients(trainer, update, batch).gradients)


def mean_over_replicas(gradients: list[Any]) -> list[Any]:
    """Return the mean of each gradient over the replicas; `None` stays `None`."""
    replicas = distribute.replica_count()
    if replicas == 1:
        return gradients
    return [
        None if one is None else distribute.all_reduce_sum(ops.convert_to_tensor(one)) / replicas
        for one in gradients
    ]


def _is_float(x: Any) -> bool:
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))


def _sum_of(one: Any, other: Any) -> Any:
    """Return the sum of two gradients; `None` means that the loss does not depend on a variable."""
    if one is None or other is None:
        return other if one is None else one
    return ops.convert_to_tensor(one) + other


def _exchanges_within(model: keras.Model) -> bool:
    """Return whether layers of the model exchange tensors with other replicas when called."""
    return distribute.replica_count() > 1 and any(
        isinstance(layer, keras.layers.BatchNormalization) and layer.synchronized
        for layer in all_layers(model)
    )


def _check_rows(batch: Batch) -> None:
    """Raise a `ValueError` unless all tensors of a batch have one row per example."""
    examples = batch_size_of(batch.x)
    for field, structure in zip(Batch._fields, batch, strict=True):
        for leaf in keras.tree.flatten(structure):
            if leaf is None:
                continue
            rows = leaf.shape[0] if len(leaf.shape) else 0
            if None not in (rows, examples) and rows != examples:
                raise ValueError(
                    "`micro_batch_size` needs one row per example in all tensors of a batch; "
                    "views of an example must be separate tensors. "
                    f"Expected {examples} rows. "
                    f"Received: shape {tuple(leaf.shape)} in `{field}`"
                )
