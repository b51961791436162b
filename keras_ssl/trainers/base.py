"""The road that every method shares: batch, views, losses, gradients, update."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_ssl import distribute
from keras_ssl._keras_internals import forget_losses, run_on_shapes
from keras_ssl.callbacks.stop_on_nan import StopOnNaN
from keras_ssl.distribute.replicas import shapes_of_replica, skip_overflow_everywhere
from keras_ssl.trainers.batch import Batch, Update
from keras_ssl.trainers.checks import (
    check_batch_size,
    check_remainder,
    check_type,
    warn_of_scale,
)
from keras_ssl.trainers.compiling import Compiling
from keras_ssl.trainers.engine.fit import DistributedFit
from keras_ssl.trainers.gradient_caching import GradientCaching
from keras_ssl.trainers.micro_batch_checks import check_divides
from keras_ssl.trainers.named_losses import (
    check_no_mean_by_hand,
    pop_representation,
    replica_share,
)
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.saved_seeds import SavedSeeds
from keras_ssl.trainers.training_state import TrainingState


class SelfSupervisedModel(Compiling, GradientCaching, SavedSeeds, DistributedFit, keras.Model):
    """The base of all trainers: a `keras.Model` whose targets come from its own input.

    A method subclasses it and implements `compute_losses(batch, training)`, which returns a
    dictionary of named losses, or its two halves: `embed(batch, training)`, which returns a
    dictionary of tensors with one row an example, and `losses_of(embeddings, training)`, which
    compares them. With the halves, `compile(micro_batch_size=...)` works. The base does the rest:
    views, gradients, loss weights and regularisation, mixed precision, replicas, one metric a
    named loss, the online probe, validation and saving. In order, a training step is

        batch -> augment -> embed -> losses_of -> gradients -> optimizer -> after_update
                            (compute_losses   )

    A named loss is either a tensor of values, one or more an example, of which the base takes the
    mean over the batches of all replicas, or the scalar that a `keras.losses.Loss` returns, which
    Keras has already divided by the number of replicas. A mean taken by hand is neither.

    What a method may fill in besides:

    - `minimum_batch`: the fewest examples, over all replicas, that the method can learn from.
    - `check_views(views)`: raise a `ValueError` on input that the method cannot train on. It sees
      shapes and is called before the first step.
    - `after_build()`: what follows the creation of all weights, such as a teacher's copy of them.
    - `after_update()`: what follows an optimizer step, such as moving a teacher.
    - `frozen_parts()`: layers that never learn, such as a teacher.
    - `updates()`: the gradient steps of a training step. The default is one, over all trainable
      variables. An adversarial method returns two, and names their optimizers in
      `optimizer_names`, in which order `compile` takes them; `trainer.optimizer`, which callbacks
      see, is the first.
    - `uses_labels`: whether the losses read `batch.y`. Then data without labels is refused.
    - `has_ready_views`: whether input of several tensors is a tuple of views where there is no
      `augment`. Not so where one example is several tensors, as a graph is.
    - `uses_sample_weight`: whether `compute_losses` reads `batch.sample_weight`. Otherwise weights
      are refused.
    - `to_encode(x)`: the part of `x` that is augmented and encoded, where `x` holds more.
    - `call(x)`: the representation. The default is `encoder(to_encode(x))`.
    - the key `"representation"` among the losses or embeddings: the features of the batch as the
      step computed them, in the order of `x`, for the online probe to learn from. Without it, the
      probe encodes `x` once more.

    Args:
        encoder: `keras.Model` or layer that maps input to features; the product of training. A
            method without an encoder passes `None` and defines `call`.
        augment: layer that maps a batch of input to a tuple of views, such as
            `keras_ssl.augment.SimCLRViews`. `None` means that the data holds ready views.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of input.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes.

    Output shape:
        What the encoder gives.

    Raises:
        TypeError: if `encoder` or `augment` is not a Keras layer.

    Example:

    An autoencoder, whole:

    >>> import keras, numpy as np, keras_ssl
    >>> class Autoencoder(keras_ssl.trainers.SelfSupervisedModel):
    ...     def __init__(self, encoder, decoder, **kwargs):
    ...         super().__init__(encoder, **kwargs)
    ...         self.decoder = decoder
    ...
    ...     def compute_losses(self, batch, training):
    ...         code = self.encoder(batch.x, training=training)
    ...         error = keras.ops.square(self.decoder(code, training=training) - batch.x)
    ...         return {"reconstruction": error, "representation": code}
    >>> trainer = Autoencoder(keras.layers.Dense(2), keras.layers.Dense(8))
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(np.ones((16, 8), "float32"), verbose=0)
    >>> sorted(history.history)
    ['loss', 'reconstruction']
    >>> trainer.predict(np.ones((4, 8), "float32"), verbose=0).shape
    (4, 2)
    """

    minimum_batch = 1
    optimizer_names = ("main",)
    uses_labels = False
    uses_sample_weight = False
    has_ready_views = True

    def __init__(
        self,
        encoder: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, part in (("encoder", encoder), ("augment", augment)):
            if part is not None:
                check_type(name, part, keras.layers.Layer)
        self.encoder = encoder
        self.augment = augment
        self._training_state = TrainingState()

    # What a method fills in

    def compute_losses(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the named losses of a batch: values by example, or scalars of Keras losses."""
        embeddings = dict(self.embed(batch, training))
        features = embeddings.pop("representation", None)
        losses = self.losses_of(embeddings, training)
        return losses if features is None else {**losses, "representation": features}

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return what the losses need of a batch, as tensors with one row an example."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement `compute_losses`, or `embed` and `losses_of`."
        )

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the named losses of embeddings. The default: they are losses by example."""
        return embeddings

    def check_views(self, views: Any) -> None:
        """Raise a `ValueError` if the method cannot train on views of these shapes."""

    def after_build(self) -> None:
        """Do what follows the creation of all weights, before a file's are loaded into them."""

    def after_update(self) -> None:
        """Do what follows an optimizer step."""

    def frozen_parts(self) -> list[keras.layers.Layer]:
        """Return the layers that never learn. `compile` freezes them, whatever was thawed."""
        return []

    def updates(self) -> list[Update]:
        """Return the gradient steps of one training step."""
        variables, optimizer = self.trainable_weights, self.optimizers["main"]
        if type(self).compute_losses is not SelfSupervisedModel.compute_losses:
            return [Update(self.compute_losses, variables, optimizer)]
        by_example = type(self).losses_of is SelfSupervisedModel.losses_of
        losses_of = None if by_example else self.losses_of
        return [Update(self.compute_losses, variables, optimizer, self.embed, losses_of)]

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the representation of `x`."""
        return self.encoder(_as_input(self.to_encode(x)), training=training)

    def to_encode(self, x: Any) -> Any:
        """Return the part of `x` that is augmented and encoded. The default is all of it."""
        return x

    # Building

    def build(self, input_shape: Any) -> None:
        """Build the encoder; `build_step` builds what training needs besides."""
        is_one_shape = isinstance(input_shape, (tuple, list)) and not any(
            isinstance(size, (tuple, list, dict)) for size in input_shape
        )
        if self.encoder is not None and not self.encoder.built and is_one_shape:
            self.encoder.build(input_shape)

    def build_step(self, x: Any, y: Any) -> None:
        """Create all that a training step needs, for a batch of these shapes.

        Args:
            x: nested structure of `keras.KerasTensor`, the input.
            y: the same for the labels, or `None`.

        Raises:
            ValueError: if the method cannot train on such data.
        """
        if self.probe is not None:
            self.probe.check_labels(y)
        if self.uses_labels and y is None:
            raise ValueError(
                f"{type(self).__name__} learns from labels: expected data of `(x, y)`. "
                "Received: data without `y`"
            )
        self._prepare_parts(x)
        if self._training_state.step_specs is None:
            self._trace_losses((x, y) if self.uses_labels else (x,))
            self.after_build()
        if self.compiled:
            self._build_training_state()

    def _trace_losses(self, data: tuple) -> None:
        """Run the losses on shapes: every layer is built, and the losses' names are known."""

        def trace(*data: Any) -> tuple[list[dict], Any]:
            batch = self._make_batch(data)
            losses = [update.compute_losses(batch, training=True) for update in self.updates()]
            check_no_mean_by_hand(losses, self.distribute_strategy.num_replicas_in_sync)
            # called even where the step gives features, so that Keras knows the model's input
            features = self._representation_of(batch)
            given = pop_representation(losses)
            return losses, features if given is None else given

        with shapes_of_replica(self.distribute_strategy.num_replicas_in_sync):
            losses, representation = run_on_shapes(trace, *data)
        names = [name for update in losses for name in update]
        if "loss" in names or len(set(names)) < len(names):
            raise ValueError(
                "`compute_losses` must return losses under different names, none of which is "
                f"'loss', the name of their total. Received: {names}"
            )
        self._training_state.loss_trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self._training_state.representation_spec = representation
        self._training_state.step_specs = data
        self.built = True

    def _build_training_state(self) -> None:
        unknown = set(self.loss_weights) - set(self._training_state.loss_trackers)
        if unknown:
            raise ValueError(
                f"`loss_weights` must name losses of {type(self).__name__}: "
                f"{sorted(self._training_state.loss_trackers)}. Received: {sorted(unknown)}"
            )
        for update in self.updates():
            if not update.optimizer.built:
                update.optimizer.build(update.variables)
        if self.probe is not None and not self.probe.built:
            self.probe.build(self._training_state.representation_spec.shape)

    def get_build_config(self) -> dict | None:
        """Return the shapes and dtypes that the training step was built for."""
        specs = self._training_state.step_specs
        if specs is None:
            return super().get_build_config()
        # of any batch size: a share of one example is too few where there is one replica
        specs = keras.tree.map_structure(
            lambda spec: keras.KerasTensor((None, *spec.shape[1:]), spec.dtype, sparse=spec.sparse),
            specs,
        )
        # Keras writes shapes and dtypes alone
        are_sparse = [spec.sparse for spec in keras.tree.flatten(specs)]
        return {"step": keras.saving.serialize_keras_object(specs), "sparse": are_sparse}

    def build_from_config(self, config: dict) -> None:
        """Create all variables for the shapes in `config`."""
        if "step" in config:
            data = keras.saving.deserialize_keras_object(config["step"])
            are_sparse = config.get("sparse", [False] * len(keras.tree.flatten(data)))
            specs = [
                keras.KerasTensor(spec.shape, spec.dtype, sparse=is_sparse)
                for spec, is_sparse in zip(keras.tree.flatten(data), are_sparse, strict=True)
            ]
            data = keras.tree.pack_sequence_as(data, specs)
            x, y, _ = keras.utils.unpack_x_y_sample_weight(tuple(data))
            self.build_step(x, y)
        else:
            super().build_from_config(config)

    # Steps

    def _make_batch(self, data: Any) -> Batch:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None and not self.uses_sample_weight:
            raise ValueError(
                f"{type(self).__name__} does not weigh examples. Expected data of `x` or `(x, y)`. "
                "Received: `sample_weight` or `class_weight`"
            )
        # validation sees views as well: without them a view-based loss means nothing
        images = self.to_encode(x)
        views = _as_input(images) if self.augment is None else self.augment(images, training=True)
        replicas = self.distribute_strategy.num_replicas_in_sync
        check_batch_size(keras.tree.flatten(x)[0], self.minimum_batch, replicas)
        self.check_views(views)
        return Batch(x, views, y, sample_weight)

    def _representation_of(self, batch: Batch) -> Any:
        """The representation of a batch, for the probe: of the first of its ready views."""
        images = self.to_encode(batch.x)
        may_be_views = self.augment is None and self.has_ready_views
        are_views = may_be_views and isinstance(images, (tuple, list))
        return self(images[0] if are_views else batch.x, training=False)

    def _compute(self, update: Update, batch: Batch, training: bool) -> tuple[dict, Any, Any]:
        """Return the named losses and their total, as this replica's share, and the features."""
        if self._takes_parts(batch, training):
            return self._compute_in_parts(update, batch, training)
        forget_losses(self)
        return self._total(update, update.compute_losses(batch, training=training))

    def _total(self, update: Update, losses: dict[str, Any]) -> tuple[dict, Any, Any]:
        representation = losses.pop("representation", None)
        losses = {name: replica_share(loss) for name, loss in losses.items()}
        weighted = [self.loss_weights.get(name, 1.0) * loss for name, loss in losses.items()]
        penalties = [v.regularizer(v) for v in update.variables if v.regularizer is not None]
        additional = [replica_share(one[None]) for one in [*penalties, *self._added()]]
        return losses, ops.sum(ops.stack(weighted + additional)), representation

    def _added(self) -> list[Any]:
        """What layers added to the losses since they were last forgotten."""
        # Keras lists the regularisation of all weights last
        regularized = sum(v.regularizer is not None for v in self.trainable_weights)
        return self.losses[: len(self.losses) - regularized]

    def _differentiate(self, update: Update, batch: Batch) -> tuple[dict, Any, Any, list[Any]]:
        """Return what `_compute` does, and the gradients of the update's variables, scaled."""
        if self._takes_parts(batch, training=True):
            return self._differentiate_in_parts(update, batch)
        with tf.GradientTape() as tape:
            losses, total, features = self._compute(update, batch, training=True)
            scaled = update.optimizer.scale_loss(total)
        return losses, total, features, tape.gradient(scaled, update.variables)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step on a batch and return the running means of all metrics."""
        batch = self._make_batch(data)
        losses, total, representation = {}, 0.0, None
        for update in self.updates():
            these, loss, features, gradients = self._differentiate(update, batch)
            gradients = skip_overflow_everywhere(update.optimizer, gradients)
            # Keras' optimizers sum the gradients of all replicas
            update.optimizer.apply(gradients, update.variables)
            losses |= these
            total += loss
            representation = representation if features is None else features
        self.after_update()
        if self.probe is not None:
            if representation is None:
                representation = self._representation_of(batch)
            self.probe.learn(representation, batch.y)
        return self._record(losses, total, batch)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Compute the losses of a batch without learning from it."""
        batch = self._make_batch(data)
        losses, total = {}, 0.0
        for update in self.updates():
            these, loss, _ = self._compute(update, batch, training=False)
            losses |= these
            total += loss
        if self.probe is not None:
            self.probe.evaluate(self._representation_of(batch), batch.y)
        return self._record(losses, total, batch)

    def _record(self, losses: dict[str, Any], total: Any, batch: Batch) -> dict[str, Any]:
        size = ops.shape(keras.tree.flatten(batch.x)[0])[0]
        replicas = distribute.replica_count()
        self._loss_tracker.update_state(total * replicas, sample_weight=size)
        for name, loss in losses.items():
            tracker = self._training_state.loss_trackers[name]
            tracker.update_state(loss * replicas, sample_weight=size)
        return self.get_metrics_result()

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Train, as `keras.Model.fit`, with `callbacks.StopOnNaN` among the callbacks.

        Args:
            x: `tf.data.Dataset` of `x` or `(x, y)`, `keras.utils.PyDataset`, or arrays. Without
                an augmentation, `x` is a tuple of ready views.
            y: labels for the probe, if `x` is an array.
            batch_size: examples a batch, if `x` is an array. With several replicas, the examples
                of all of them.
            epochs: how often to go through the data.
            verbose: as in `keras.Model.fit`.
            callbacks: list of Keras callbacks.
            **kwargs: as in `keras.Model.fit`.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: if the data is empty or cannot be trained on, before the first step.
            FloatingPointError: if a loss becomes NaN; names the loss and the step.
        """
        check_remainder(x, batch_size, self.minimum_batch)
        replicas = self.distribute_strategy.num_replicas_in_sync
        check_divides(self._training_state.micro_batch_size, x, batch_size, replicas)
        warn_of_scale(x, self.augment)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [StopOnNaN(), *keras.tree.flatten([] if callbacks is None else callbacks)]
        kwargs |= {"epochs": epochs, "verbose": verbose, "callbacks": callbacks}
        history = super().fit(x, y, batch_size, **kwargs)
        if epochs > kwargs.get("initial_epoch", 0) and history.epoch and not history.history:
            raise ValueError("`x` gave no batch. Expected at least one in every epoch.")
        return history

    # Keras' views of the model

    def training_variables(self) -> dict[str, list[keras.Variable]]:
        """All that training changes: model, metrics, optimizers, the probe and its optimizer."""
        found = {"model": list(self.variables), "metrics": list(self.metrics_variables)}
        for name, one in self.optimizers.items():
            found[f"optimizer {name}"] = list(one.variables)
        if self.probe is not None:
            found["probe"] = list(self.probe.variables)
            found["probe's optimizer"] = list(self.probe.optimizer.variables)
        return found

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The total loss, the named losses, and the probe's metrics."""
        probe = [] if self.probe is None else self.probe.metrics
        return [*super().metrics, *self._training_state.loss_trackers.values(), *probe]

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        config = keras.layers.Layer.get_config(self)
        return {**config, **serialize_parts(encoder=self.encoder, augment=self.augment)}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Any:
        """Make the trainer that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))


def _as_input(x: Any) -> Any:
    """Images of bytes as numbers that every layer takes, in the same scale."""

    def cast(one: Any) -> Any:
        is_bytes = keras.backend.standardize_dtype(one.dtype) == "uint8"
        return ops.cast(one, "float32") if is_bytes else one

    return keras.tree.map_structure(cast, x)
