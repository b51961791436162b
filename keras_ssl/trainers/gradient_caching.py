"""Steps on batches whose activations do not fit: the trainers' side of gradient caching."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_ssl import distribute
from keras_ssl._keras_internals import all_layers, forget_losses, global_seed_state
from keras_ssl.trainers.batch import Batch, Update, batch_size_of
from keras_ssl.trainers.micro_batch_checks import check_batch, check_rows_of_batch
from keras_ssl.trainers.micro_batches import MicroBatches
from keras_ssl.trainers.named_losses import replica_share


class GradientCaching:
    """Mix-in of the base: what a step does with `compile(micro_batch_size=...)`.

    Embeds the batch in micro-batches, takes the gradient of the losses for the embeddings, and
    carries it on to the variables, again in micro-batches. Where losses are by example, gradients
    are added up in one pass. See `MicroBatches`.
    """

    @property
    def needs_full_batches(self) -> bool:
        """Whether `fit` leaves out what remains of arrays after the last full batch."""
        return super().needs_full_batches or self._training_state.micro_batch_size is not None

    def _prepare_parts(self, x: Any) -> None:
        """Note, for a batch of these shapes, what cannot be found within a step."""
        state = self._training_state
        if state.micro_batch_size is not None:
            state.examples = keras.tree.flatten(x)[0].shape[0]
            state.unseeded = global_seed_state()

    def make_train_function(self, force: bool = False) -> Any:
        """Make the function of a step, as `keras.Model` does; one for each size of batches.

        Keras' own goes on with batches of any size once it has seen two. Where it is cut, the size
        must be known.
        """
        functions = self._training_state.train_functions
        if self._training_state.micro_batch_size is None:
            return super().make_train_function(force)
        size = self._training_state.examples
        self.train_function = functions.get(size)
        super().make_train_function(force)
        functions[size] = self.train_function
        return self.train_function

    def _takes_parts(self, batch: Batch, training: bool) -> bool:
        """Whether the batch goes through the step in more than one micro-batch."""
        size, examples = self._training_state.micro_batch_size, batch_size_of(batch)
        if size is None:
            return False
        if training:
            check_batch(size, examples)
            return examples is None or examples > size
        # validation takes what comes: it holds no activations for a backward pass
        return examples is not None and examples > size and examples % size == 0

    def _compute_in_parts(
        self, update: Update, batch: Batch, training: bool
    ) -> tuple[dict, Any, Any]:
        """Return the named losses and their total, as this replica's share, and the features."""
        embedded = self._parts(update, batch, training).embed_all()
        return self._total_of_parts(update, *embedded, training)

    def _differentiate_in_parts(
        self, update: Update, batch: Batch
    ) -> tuple[dict, Any, Any, list[Any]]:
        """Return the same of a training step, and the gradients of the update's variables."""
        parts = self._parts(update, batch, training=True)
        if update.losses_of is None:
            return self._differentiate_by_part(update, parts)
        before = parts.read_state()
        embedded = parts.embed_all()
        leaves = keras.tree.flatten(embedded)
        floats = [leaf for leaf in leaves if leaf.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            losses, total, features = self._total_of_parts(update, *embedded, training=True)
            scaled = update.optimizer.scale_loss(total)
        of_floats, direct = tape.gradient(scaled, [floats, update.variables])
        of_floats = iter(of_floats)
        arriving = [next(of_floats) if leaf.dtype.is_floating else None for leaf in leaves]
        after = parts.read_state()
        parts.write_state(before)
        through = parts.gradients(update.variables, arriving)
        parts.write_state(after)
        gradients = [_sum_of(*pair) for pair in zip(direct, through, strict=True)]
        return losses, total, features, gradients

    def _differentiate_by_part(
        self, update: Update, parts: MicroBatches
    ) -> tuple[dict, Any, Any, list[Any]]:
        """The same where losses are by example: the total is the mean over parts of theirs."""

        def scaled_total(embeddings: dict, added: Any) -> Any:
            _, total, _ = self._total_of_parts(update, embeddings, added, training=True)
            return update.optimizer.scale_loss(total)

        embedded, gradients = parts.embed_and_differentiate(scaled_total, update.variables)
        totals = self._total_of_parts(update, *embedded, training=True)
        return *totals, gradients

    def _parts(self, update: Update, batch: Batch, training: bool) -> MicroBatches:
        def embed(part: Batch) -> tuple[dict[str, Any], Any]:
            forget_losses(self)
            embeddings = update.embed(part, training=training)
            added = [ops.mean(ops.cast(one, "float32")) for one in self._added()]
            return embeddings, ops.reshape(sum(added, ops.zeros(())), (1,))

        check_rows_of_batch(batch)
        size = self._training_state.micro_batch_size
        unroll = tf.executing_eagerly() or _exchanges_within(self)
        return MicroBatches(batch, size, embed, self._changeable_variables(), unroll)

    def _changeable_variables(self) -> list[keras.Variable]:
        """All that `embed` may change; layers such as `SpectralNormalization` change weights."""
        found = [*self.variables, *self.metrics_variables]
        unseeded = self._training_state.unseeded
        strategy = self.distribute_strategy
        # one that all replicas share cannot be set back while another replica draws
        if unseeded is not None and (
            strategy.num_replicas_in_sync == 1
            or strategy.extended.variable_created_in_scope(unseeded.value)
        ):
            found.append(unseeded)
        return found

    def _total_of_parts(
        self, update: Update, embeddings: dict, added: Any, training: bool
    ) -> tuple[dict, Any, Any]:
        forget_losses(self)
        embeddings = dict(embeddings)
        features = embeddings.pop("representation", None)
        losses = embeddings if update.losses_of is None else update.losses_of(embeddings, training)
        losses, total, _ = self._total(update, dict(losses))
        return losses, total + replica_share(added), features


def _sum_of(one: Any, other: Any) -> Any:
    """The sum of two gradients, either of which may be `None`: no connection."""
    if one is None or other is None:
        return other if one is None else one
    return tf.convert_to_tensor(one) + other


def _exchanges_within(model: keras.Model) -> bool:
    """Whether layers of the model exchange tensors with other replicas when they are called."""
    return distribute.replica_count() > 1 and any(
        isinstance(layer, keras.layers.BatchNormalization) and layer.synchronized
        for layer in all_layers(model)
    )
