"""The training step of every method: batch, views, losses, gradients, update."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import distribute
from keras_ssl._keras_internals import global_seed_state, keep_input_dtypes
from keras_ssl._quantized import quantize_again
from keras_ssl.distribute.replicas import skip_overflow_everywhere
from keras_ssl.ops.schedules import at_step
from keras_ssl.optimizers._wrapper import take_step
from keras_ssl.optimizers.parameter_groups import ParameterGroups
from keras_ssl.trainers._building import (
    build_by_call,
    build_for_shape,
    build_step_for,
    build_training_state,
    start,
    trace,
)
from keras_ssl.trainers._changed_layers import check_not_quantized, take_over_adapted
from keras_ssl.trainers._data_checks import (
    check_labels,
    check_validation_data,
    check_weight_arguments,
    check_weights,
    inputs_of,
    look_at_values,
)
from keras_ssl.trainers._fit_callbacks import with_own_callbacks
from keras_ssl.trainers._optimizer_checks import check_optimizers
from keras_ssl.trainers._output_shapes import output_shapes_of
from keras_ssl.trainers._saved_state import (
    build_config_of,
    of_any_batch_size,
    seed_states,
    specs_in,
)
from keras_ssl.trainers._training_state import TrainingState
from keras_ssl.trainers.checks import check_batch_size, check_remainder, check_type
from keras_ssl.trainers.engine._hooks import are_arrays
from keras_ssl.trainers.engine.assertions import with_batch_sizes_checked
from keras_ssl.trainers.engine.evaluation_seeds import EvaluationSeeds
from keras_ssl.trainers.engine.fit import DistributedFit, is_eager, resolve_jit_compile
from keras_ssl.trainers.engine.gradients import (
    CachedGradients,
    PlainGradients,
    closure,
    mean_over_replicas,
)
from keras_ssl.trainers.engine.label_values import label_errors
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.inputs import ExampleInput
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.probe import OnlineProbe
from keras_ssl.trainers.step import Batch, Update, replica_share
from keras_ssl.trainers.teacher import EMATeacher, freeze


class SelfSupervisedModel(DistributedFit, keras.Model):
    """Base of all trainers: a `keras.Model` that makes its targets from its own input.

    A method subclasses it and implements `embed(batch, training)`, which returns a dictionary of
    tensors with one row per example, and `losses_of(embeddings, training)`, which returns a
    dictionary of named losses; or both in one, `compute_losses(batch, training)`. With the two
    halves, `compile(micro_batch_size=...)` works. Methods use `keras.ops` only. The base does the
    rest: views, gradients, loss weights and regularisation, mixed precision, replicas, a metric
    for each of several named losses, the online probe, evaluation and saving. In order, a training
    step is

        batch -> augment -> embed -> losses_of -> gradients -> optimizer -> after_update
                            (compute_losses   )

    A named loss is either a tensor of values, one or more per example, of which the base takes the
    mean over the batches of all replicas, or the scalar that a `keras.losses.Loss` returns, which
    Keras has already divided by the number of replicas. Do not take a mean by hand: it would be
    neither.

    What a method may define besides:

    - `minimum_batch`: the fewest examples, over all replicas, that the method can learn from.
    - `check_views(views)`: raise a `ValueError` on views that the method cannot train on. It sees
      shapes and is called before the first step.
    - `check_representation(features)`: the same for the shape of the representation.
    - `check_data(data)`: raise a `ValueError` on the data, which `fit` has just got.
    - `check_values(x)`: raise a `ValueError` on values of `x`, of arrays all, else a first batch.
    - `after_build()`: what follows the creation of all weights.
    - `after_update()`: what follows an optimizer step. Teachers (`trainers.EMATeacher`) follow
      their students by themselves.
    - `frozen_parts()`: layers that never learn.
    - `updates()`: the gradient steps of a training step. The default is one, over all trainable
      variables. An adversarial method returns two, and names their optimizers in
      `optimizer_names`, in which order `compile` takes them; `trainer.optimizer`, which callbacks
      see, is the first.
    - `training_callbacks()`: callbacks that the method needs in every `fit`.
    - `uses_labels`: whether the losses read `batch.y`. Then data without labels is refused.
    - `uses_sample_weight`: whether the losses read `batch.sample_weight`. Otherwise weights are
      refused.
    - `input_kind`: what a batch is; the default is `ExampleInput()`.
    - `view_count`: how many views the method compares, if the number is fixed.
    - `learns_from`: what the examples are, in words, if they are no images.
    - `uses_index`: whether the data holds the index of each example, as from `data.with_index`.
    - class methods `<argument>_for(images)`, such as `augment_for`: the argument of the constructor
      for `images`, a `trainers.ImageSpec`, where the trainer is made by its name, as on the command
      line, and nobody has given the argument.
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
        x: a batch of input: any structure of tensors that the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes.

    Output shape:
        What the encoder returns.

    Raises:
        TypeError: if `encoder` or `augment` is not a Keras layer.

    Example:

    An autoencoder, complete:

    >>> import keras, numpy as np, keras_ssl
    >>> class Autoencoder(keras_ssl.trainers.SelfSupervisedModel):
    ...     def __init__(self, encoder, decoder, **kwargs):
    ...         super().__init__(encoder, **kwargs)
    ...         self.decoder = decoder
    ...
    ...     def embed(self, batch, training):
    ...         code = self.encoder(batch.x, training=training)
    ...         error = keras.ops.square(self.decoder(code, training=training) - batch.x)
    ...         return {"reconstruction": error, "representation": code}
    >>> trainer = Autoencoder(keras.layers.Dense(2), keras.layers.Dense(8))
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(np.ones((16, 8), "float32"), verbose=0)
    >>> sorted(history.history)
    ['loss']
    >>> trainer.predict(np.ones((4, 8), "float32"), verbose=0).shape
    (4, 2)
    """

    minimum_batch = 1
    optimizer_names = ("main",)
    uses_labels = False
    uses_sample_weight = False
    view_count: int | None = None
    input_kind = ExampleInput()
    learns_from = "images"
    uses_index = False

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
        if self.input_kind.keeps_dtypes:
            keep_input_dtypes(self)
        self._state = TrainingState()
        self.encoder = encoder
        self.augment = augment

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer | None:
        """Return the encoder of a trainer that is made by its name."""
        return images.encoder()

    # What a method defines

    def compute_losses(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the named losses of a batch: values per example, or scalars of Keras losses."""
        embeddings = dict(self.embed(batch, training))
        features = embeddings.pop("representation", None)
        if features is None:
            return self.losses_of(embeddings, training)
        self.check_representation(features)
        return {**self.losses_of(embeddings, training), "representation": features}

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return what the losses need of a batch, as tensors with one row per example."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement `compute_losses`, or `embed` and `losses_of`."
        )

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the named losses of embeddings. By default the embeddings are the losses."""
        return embeddings

    def check_views(self, views: Any) -> None:
        """Raise a `ValueError` if the method cannot train on views of these shapes."""

    def check_representation(self, features: Any) -> None:
        """Raise a `ValueError` if the method cannot train on features of this shape."""

    def label_classes(self) -> float | None:
        """Return how many classes labels may be of, in addition to -1, which means no label.

        The default is what the probe says. `None` means that labels are not read as classes, and
        infinity that any number of at least 0 is a class.
        """
        return None if self.probe is None else self.probe.label_classes

    def check_data(self, data: Any) -> None:
        """Raise a `ValueError` if the method cannot train on the values of `data`."""
        self.input_kind.check_values(self, data)

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if the method cannot train on the values of `x`.

        Called before the first step of `fit`, and by `evaluate` and the methods for single batches,
        with arrays as the user gave them, or with the first batch of other data.
        """

    def loss_weight(self, name: str) -> Any:
        """Return the factor of a named loss in the total loss: a number or a scalar tensor."""
        return self.loss_weights.get(name, 1.0)

    def after_build(self) -> None:
        """Do what follows the creation of all weights."""

    def after_update(self) -> None:
        """Do what follows an optimizer step."""

    def frozen_parts(self) -> list[keras.layers.Layer]:
        """Return the layers that never learn. `compile` freezes their weights."""
        return []

    def training_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that the method needs in every `fit`."""
        return []

    def updates(self) -> list[Update]:
        """Return the gradient steps of one training step."""
        variables, optimizer = self.trainable_weights, self.optimizers["main"]
        if type(self).compute_losses is not SelfSupervisedModel.compute_losses:
            return [Update(self.compute_losses, variables, optimizer)]
        are_losses = type(self).losses_of is SelfSupervisedModel.losses_of
        losses_of = None if are_losses else self.losses_of
        return [Update(self.compute_losses, variables, optimizer, self.embed, losses_of)]

    def to_encode(self, x: Any) -> Any:
        """Return the part of `x` that is augmented and encoded. The default is all of it."""
        return x

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the representation of `x`."""
        return self.encoder(self.input_kind.as_floats(self.to_encode(x)), training=training)

    # A step

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step on a batch and return the running means of all metrics."""
        batch = self._make_batch(data)
        losses, total, representation = {}, 0.0, None
        with at_step(self.steps_taken):
            for update in self.updates():
                for _ in range(update.steps):
                    result = self._gradients(self, update, batch)
                    self._apply(update, batch, result.gradients)
                losses |= result.losses  # of several steps, those of the last
                total += result.total
                if result.representation is not None:
                    representation = result.representation
        self._follow_students()
        self.after_update()
        if self.probe is not None:
            if representation is None:
                representation = self._representation_of(batch)
            self.probe.learn(representation, batch.y, self.input_kind.weights_of_labels(batch))
        return self._record(losses, total, batch)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Compute the losses of a batch without learning from it."""
        batch = self._make_batch(data)
        losses, total = {}, 0.0
        with at_step(self.steps_taken):
            for update in self.updates():
                result = self._gradients.losses(self, update, batch)
                losses |= result.losses
                total += result.total
        if self.probe is not None:
            weights = self.input_kind.weights_of_labels(batch)
            self.probe.evaluate(self._representation_of(batch), batch.y, weights)
        return self._record(losses, total, batch)

    def _make_batch(self, data: Any) -> Batch:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        check_weights(self, y, sample_weight=sample_weight)
        inputs = self.input_kind.as_floats(self.to_encode(x))
        # evaluation draws views as well: the loss of a method that compares views needs them
        views = inputs if self.augment is None else self.augment(inputs, training=True)
        replicas = self.distribute_strategy.num_replicas_in_sync
        check_batch_size(keras.tree.flatten(x)[0], self.minimum_batch, replicas)
        self.check_views(views)
        return Batch(x, views, y, sample_weight)

    def _representation_of(self, batch: Batch) -> Any:
        """The representation of a batch; of the first view if the data holds ready views."""
        return self(self._without_views(batch.x), training=False)

    def _without_views(self, x: Any) -> Any:
        """Return `x`, or its first view if the data holds ready views."""
        inputs = self.to_encode(x)
        may_be_views = self.augment is None and self.input_kind.may_be_views
        are_views = may_be_views and self.view_count != 1 and isinstance(inputs, (tuple, list))
        return inputs[0] if are_views else x

    @property
    def _gradients(self) -> PlainGradients | CachedGradients:
        return self._state.gradients

    def total_loss(
        self, update: Update, losses: dict[str, Any], added: Any = None
    ) -> tuple[dict[str, Any], Any]:
        """Return this replica's shares of named losses and of their total.

        Args:
            update: the update that the losses are minimised by, whose variables are regularised.
            losses: what `compute_losses` returned, without the representation.
            added: what layers added to the losses by `add_loss`; `None` means what they added
                since the model's losses were last cleared.

        Returns:
            The shares by name, and the scalar that is differentiated: their weighted sum, the
            penalties of regularised variables and what layers added.
        """
        losses = {name: replica_share(loss) for name, loss in losses.items()}
        weighted = [self.loss_weight(name) * loss for name, loss in losses.items()]
        penalties = [v.regularizer(v) for v in update.variables if v.regularizer is not None]
        added = self.added_losses() if added is None else [added]
        additional = [replica_share(ops.reshape(one, (-1,))) for one in [*penalties, *added]]
        return losses, ops.sum(ops.stack(weighted + additional))

    def added_losses(self) -> list[Any]:
        """Return what layers added to the losses since `forget_losses`, means over examples."""
        # Keras lists the regularisation of all weights last
        regularized = sum(v.regularizer is not None for v in self.trainable_weights)
        added = self.losses[: len(self.losses) - regularized]
        return [ops.mean(ops.cast(one, "float32")) for one in added]

    def _apply(self, update: Update, batch: Batch, gradients: list[Any]) -> None:
        """Let the optimizer of an update take a step."""
        optimizer, variables = update.optimizer, update.variables
        gradients = skip_overflow_everywhere(optimizer, gradients)
        with self._state.groups.applied(optimizer, variables):
            if hasattr(optimizer, "apply_with_closure"):
                again = closure(self._gradients, self, update, batch)
                optimizer.apply_with_closure(mean_over_replicas(gradients), variables, again)
            else:
                take_step(optimizer, gradients, variables)

    def _follow_students(self) -> None:
        if not self._state.teachers:
            return
        step = self.steps_taken()
        # not in a step that only accumulated gradients, or that overflowed in float16
        has_moved = ops.not_equal(step, self.followed_step)
        for teacher in self._state.teachers:
            teacher.follow(step - 1, has_moved)
        self.followed_step.assign(step)

    def steps_taken(self) -> Any:
        """Return how many steps the first optimizer has taken, an int32 scalar."""
        # a trainer that is loaded is traced before it is compiled
        optimizer = self.optimizers[self.optimizer_names[0]]
        return ops.cast(0 if optimizer is None else optimizer.iterations, "int32")

    def is_before(self, step: int) -> Any:
        """Return whether fewer than `step` optimizer steps were taken; `False` for step 0."""
        return step > 0 and ops.less(self.steps_taken(), step)

    def _record(self, losses: dict[str, Any], total: Any, batch: Batch) -> dict[str, Any]:
        size = self.input_kind.examples_in(batch.x)
        replicas = distribute.replica_count()
        self._loss_tracker.update_state(total * replicas, sample_weight=size)
        for name, loss in losses.items():
            self._state.loss_trackers[name].update_state(loss * replicas, sample_weight=size)
        return self.get_metrics_result()

    # Compiling

    def compile(
        self,
        optimizer: Any = "adam",
        probe: OnlineProbe | None = None,
        loss_weights: dict[str, float] | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        micro_batch_size: int | None = None,
        learning_rate_multipliers: Mapping[str, float] | None = None,
        exclude_from_weight_decay: Sequence[str] = (),
        weight_decay: keras.optimizers.schedules.LearningRateSchedule | None = None,
        **unknown: Any,
    ) -> None:
        """Configure training; the loss belongs to the method and is not an argument.

        Args:
            optimizer: Keras optimizer or its name; for a method with several gradient steps, a
                dictionary of them by the method's `optimizer_names`.
            probe: an `OnlineProbe`, if the data carries labels and their linear separability is
                to be watched.
            loss_weights: factors of the named losses in the total `loss`. A loss that is not
                named has the factor 1.
            run_eagerly: as in `keras.Model.compile`.
            steps_per_execution: as in `keras.Model.compile`.
            jit_compile: as in `keras.Model.compile`. Falls back to `False` with a warning where
                the strategy makes XLA impossible.
            auto_scale_loss: as in `keras.Model.compile`.
            micro_batch_size: how many examples a replica embeds at a time. The step then computes
                the gradient of the whole batch with the activations of so few, at the price of a
                second forward pass ([GradCache](https://arxiv.org/abs/2101.06983)). The gradient
                is that of the plain step, except that batch normalisation sees a micro-batch and
                that layers draw random numbers, such as dropout's, per micro-batch. If the losses
                are values per example, no second pass is needed. `None` embeds the batch at once.
            learning_rate_multipliers: factors of the learning rate for groups of variables, by
                regular expressions that are searched for in a variable's path, which begins with
                the trainer's attribute: `{"^encoder/": 0.1}`. The first that matches counts.
            exclude_from_weight_decay: regular expressions; variables whose path matches one get
                no weight decay, such as `("bias", "gamma", "beta")` or
                `optimizers.NO_WEIGHT_DECAY`.
            weight_decay: schedule of the weight decay by training steps, in place of the constant
                of the optimizers. They must have the decoupled weight decay of Keras.
            **unknown: refused, with a hint for the arguments of `keras.Model.compile`.

        Raises:
            TypeError: if an argument is of the wrong type or unknown.
            ValueError: if the optimizers are not those that the method names, one of several
                keeps an average of the weights, or accumulates gradients under several replicas,
                `micro_batch_size` is below 1, the method has no `embed` to call on micro-batches,
                an optimizer whose weight decay is its own gets a schedule of it, or, of a trainer
                that is built, `loss_weights` names no loss or a pattern matches no variable. The
                trainer then stays compiled as it was.
        """
        if unknown:
            raise TypeError(
                "The loss belongs to the method, and a `probe` measures what labels say; `compile` "
                "takes `optimizer`, `probe`, `loss_weights` and how to run. "
                f"Received: {sorted(unknown)}"
            )
        if probe is not None and not isinstance(probe, OnlineProbe):
            raise TypeError(
                f"`probe` must be a `keras_ssl.trainers.OnlineProbe`. Received: {probe}"
            )
        state = self._state
        gradients = PlainGradients()
        if micro_batch_size is not None:
            gradients = CachedGradients(micro_batch_size)
        groups = ParameterGroups(learning_rate_multipliers, exclude_from_weight_decay, weight_decay)
        groups.take_over(state.groups)
        optimizers = check_optimizers(self, optimizer)
        with self._compiled_or_as_before():
            self._freeze_parts()
            scaled = self._compile_optimizers(
                optimizers, run_eagerly, steps_per_execution, jit_compile, auto_scale_loss
            )
            state.optimizers = scaled
            self.optimizer = next(iter(scaled.values()))
            self.on_new_optimizer()
            state.probe, state.gradients, state.groups = probe, gradients, groups
            self.forget_train_functions()
            if micro_batch_size and any(update.embed is None for update in self.updates()):
                raise ValueError(
                    f"`micro_batch_size` needs a method with `embed` and `losses_of`; "
                    f"{type(self).__name__} has `compute_losses` alone. "
                    f"Received: micro_batch_size={micro_batch_size}"
                )
            self.loss_weights = dict(loss_weights or {})
            state.compile_arguments = {
                "optimizer": optimizer if isinstance(optimizer, dict) else scaled["main"],
                "probe": probe,
                "loss_weights": loss_weights,
                "run_eagerly": run_eagerly,
                "steps_per_execution": steps_per_execution,
                "jit_compile": jit_compile,
                "auto_scale_loss": auto_scale_loss,
                "micro_batch_size": micro_batch_size,
                **groups.get_config(),
            }
            if state.step_specs is not None:
                build_training_state(self)

    def _compile_optimizers(
        self,
        optimizers: dict[str, Any],
        run_eagerly: bool,
        steps_per_execution: int,
        jit_compile: bool | str,
        auto_scale_loss: bool,
    ) -> dict[str, keras.optimizers.Optimizer]:
        """Let Keras make the optimizers of names and wrap them for mixed precision."""
        scaled = {}
        for name in self.optimizer_names:
            super().compile(
                optimizer=optimizers[name],
                run_eagerly=run_eagerly,
                steps_per_execution=steps_per_execution,
                jit_compile=resolve_jit_compile(jit_compile, self._distribute_strategy),
                auto_scale_loss=auto_scale_loss,
            )
            scaled[name] = self.optimizer
            inner = getattr(self.optimizer, "inner_optimizer", None)
            if hasattr(inner, "apply_with_closure"):
                raise ValueError(
                    "An optimizer that calls for the loss again cannot have its loss scaled for "
                    "float16 from outside. Scale it within, `SAM(keras.optimizers."
                    "LossScaleOptimizer(...))`, and pass `auto_scale_loss=False`, or use "
                    f"mixed_bfloat16. Received: optimizer={optimizers[name]}"
                )
        return scaled

    @contextmanager
    def _compiled_or_as_before(self) -> Iterator[None]:
        """Compile within; if that fails, let the trainer be compiled as it was, or not at all."""
        state, optimizer = self._state, getattr(self, "optimizer", None)
        names = ("probe", "gradients", "groups", "optimizers", "compile_arguments")
        before = {name: getattr(state, name) for name in names}
        loss_weights = getattr(self, "loss_weights", {})
        try:
            yield
        except Exception:
            vars(state).update(before)
            self.loss_weights = loss_weights
            if optimizer is None:
                self.compiled, self.optimizer = False, None
            else:
                arguments = ("run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss")
                self._compile_optimizers(
                    before["optimizers"], *(before["compile_arguments"][key] for key in arguments)
                )
                self.optimizer = optimizer
                self.on_new_optimizer()
            self.forget_train_functions()
            raise

    def on_new_optimizer(self) -> None:
        """Let teachers follow from the step to which the first optimizer has counted."""
        if self._state.teachers:
            self.followed_step.assign(self.steps_taken())

    def _freeze_parts(self) -> None:
        # `trainer.trainable = True` thaws all that a model holds
        for part in self.frozen_parts():
            freeze(part)
        for teacher in self._state.teachers:
            teacher.freeze()

    def get_compile_config(self) -> dict | None:
        """Return the arguments of `compile`, serialised."""
        if self.compiled:
            return keras.saving.serialize_keras_object(self._state.compile_arguments)
        return None

    def compile_from_config(self, config: dict) -> None:
        """Compile with the arguments in `config`."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def probe(self) -> OnlineProbe | None:
        """The probe that `compile` got."""
        return self._state.probe

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimizers that `compile` got, by name; a single one is called "main"."""
        return self._state.optimizers

    def add_teacher(self, teacher: EMATeacher) -> None:
        """Let a teacher follow its students from now on. `EMATeacher` calls this itself."""
        if not self._state.teachers:
            # the optimizer's step that the teachers have followed
            self.followed_step = self.add_weight(
                name="followed_step", shape=(), dtype="int32", initializer="zeros", trainable=False
            )
        self._state.teachers.append(teacher)

    @property
    def input_specs(self) -> Any:
        """The `keras.KerasTensor` of a batch of `x` that the trainer was built for, or `None`."""
        specs = self._state.step_specs
        return None if specs is None else specs[0]

    @property
    def _default_save_signature(self) -> None:
        """No signature beside that of `export`: Keras' has float32 for every input."""
        return

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Export the representation for serving: what the trainer returns for `x`.

        Args:
            filepath: folder or file to write.
            *args: as in `keras.Model.export`.
            **kwargs: as in `keras.Model.export`. For graphs, `input_signature` may be an example as
                in `layers.graph.GraphSequential.export`; without it, the form of the adjacency is
                that of the data.
        """
        self.input_kind.export(self, super().export, filepath, *args, **kwargs)

    # Building: all state exists after `build`, a call, the first `fit`, or loading a file

    def build(self, input_shape: Any) -> None:
        """Create all state of training for input of a shape.

        Args:
            input_shape: shape of a batch, or a structure of shapes: of what `fit` gets as `x`, or
                of one view of it.
        """
        if self._state.is_tracing or self._state.is_called:
            self._build_encoder(input_shape)
        elif self._state.step_specs is None:
            build_for_shape(self, input_shape)

    def _build_encoder(self, input_shape: Any) -> None:
        is_one_shape = isinstance(input_shape, (tuple, list)) and not any(
            isinstance(size, (tuple, list, dict)) for size in input_shape
        )
        if self.encoder is not None and not self.encoder.built and is_one_shape:
            self.encoder.build(input_shape)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        x = self.input_kind.as_tensors(x)
        state = self._state
        if state.step_specs is not None or state.is_tracing or state.is_called:
            return super().__call__(x, *args, **kwargs)
        if is_eager():  # in the graph of a step, weights cannot be copied to teachers
            build_by_call(self, x)
        state.is_called = True
        try:
            return super().__call__(x, *args, **kwargs)
        finally:
            state.is_called = False

    def build_step(self, x: Any, y: Any) -> None:
        """Create all that a training step needs, and check the shapes of the data.

        `fit`, `evaluate`, `train_on_batch` and `test_on_batch` call it before their first step.

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
        build_step_for(self, x, y)

    def __setattr__(self, name: str, value: Any) -> None:
        # Keras locks what a built model is made of. Augmentation may be replaced, as with growing
        # resolution: it has no part in the saved weights.
        is_replaced = name == "augment" and "augment" in vars(self) and self.built
        if not is_replaced:
            super().__setattr__(name, value)
            return
        self._tracker.unlock()
        if self.augment is not None:
            self._tracker.untrack(self.augment)
        super().__setattr__(name, value)
        self._tracker.lock()
        self._state.checked.clear()
        self.renew_functions()

    # Training and evaluation

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
            batch_size: examples per batch, if `x` is an array. With several replicas, the
                examples of all of them.
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
        check_weight_arguments(self, x, y, kwargs)
        x = self.input_kind.as_data(x)
        if not self.compiled:
            raise ValueError("Call `compile` before `fit`. Received: a trainer not compiled")
        self._make_global_generator()
        x, y, kwargs = self.split_validation(x, y, kwargs)
        validation = self.input_kind.as_data(kwargs.get("validation_data"))
        if isinstance(validation, list):  # which Keras takes for a tuple
            validation = tuple(validation)
        self.check_data(x)
        x = check_labels(self, x, y)
        if validation is not None:
            validation = check_labels(self, validation, name="validation_data")
            kwargs["validation_data"] = validation
            size = kwargs.get("validation_batch_size") or batch_size
            check_validation_data(self, validation, size, kwargs.get("validation_steps"))
        # with full batches, `fit` leaves out what remains; steps may end before the last batch
        if not self.needs_full_batches and kwargs.get("steps_per_epoch") is None:
            check_remainder(x, batch_size, self.minimum_batch)
        replicas = self.distribute_strategy.num_replicas_in_sync
        self._gradients.check_divides(x, batch_size, replicas)
        # of other data, the first batch is looked at before its step: see `look_at_batch`
        if are_arrays(x) or replicas > 1:
            look_at_values(self, x, "x")
        if validation is not None:
            look_at_values(self, inputs_of(validation), "validation_data")
        callbacks = with_own_callbacks(self, callbacks, validation)
        kwargs |= {"epochs": epochs, "verbose": verbose, "callbacks": callbacks}
        with label_errors():
            history = super().fit(x, y, batch_size, **kwargs)
        if epochs > kwargs.get("initial_epoch", 0) and history.epoch and not history.history:
            raise ValueError("`x` gave no batch. Expected at least one in every epoch.")
        return history

    def check_batches(self, dataset: Any) -> Any:
        """Return the dataset, in which batches that are too small for the method are errors.

        The check that a step makes comes after other operations of the step, and XLA skips it.
        """
        return with_batch_sizes_checked(dataset, self.minimum_batch)

    def look_at_batch(self, x: Any) -> Callable[[Any], None] | None:
        """Return the function that looks at values in the first batch of `x`, if not of arrays."""
        if not self._looks_at_values or are_arrays(x):
            return None
        unpack = keras.utils.unpack_x_y_sample_weight
        return lambda data: look_at_values(self, unpack(data)[0], "x")

    @property
    def _looks_at_values(self) -> bool:
        """Whether values matter to the method, or to its augmentation."""
        checks_values = type(self).check_values is not SelfSupervisedModel.check_values
        return checks_values or self.augment is not None

    def check_evaluation_shapes(self, x: Any, y: Any, sample_weight: Any) -> None:
        """Raise if the losses cannot be computed of validation data of these shapes."""
        with self._evaluating(seeded=False):
            try:
                check_weights(self, y, sample_weight=sample_weight)
                self.build_step(x, y)
            except (TypeError, ValueError) as error:
                raise type(error)(f"In `validation_data`: {error}") from error

    def before_steps(self) -> None:
        """Get ready for the steps of `fit` or `evaluate`, when all state exists."""
        state = self._state
        if not state.is_started:
            start(self)  # weights of a student may have been set since all state was created
        take_over_adapted(self)
        if not state.is_evaluating:
            check_not_quantized(self)
        state.is_started |= not state.is_evaluating
        if state.is_evaluating:
            state.seeds.fix()

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Compute the losses, as `keras.Model.evaluate`, with the same draws at each call.

        Views and everything else that is random are drawn from fixed seeds. The states of the
        generators that training draws from are left as they are.

        Args:
            x: data, as in `fit`.
            y: labels for the probe, if `x` is an array.
            batch_size: examples per batch, if `x` is an array.
            **kwargs: as in `keras.Model.evaluate`.

        Returns:
            The losses and metrics, as `keras.Model.evaluate`.
        """
        x = self.input_kind.as_data(x)
        check_weight_arguments(self, x, y, kwargs)
        self._make_global_generator()
        if not kwargs.get("_use_cached_eval_dataset", False):
            self.check_data(x)
            x = check_labels(self, x, y)
            look_at_values(self, x, "x")
            if self.distribute_strategy.num_replicas_in_sync == 1 and kwargs.get("steps") is None:
                check_remainder(x, batch_size, self.minimum_batch)
        with self._evaluating(), label_errors():
            return super().evaluate(x, y, batch_size, **kwargs)

    def _make_global_generator(self) -> None:
        # Keras draws its seed from Python's generator when it is first used. If that were in an
        # evaluation, training would go on with other numbers.
        with self.distribute_strategy.scope():
            global_seed_state()

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Take a step on one batch, as `keras.Model.train_on_batch`."""
        check_labels(self, x, y)
        self.check_values(x)
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Compute the losses of one batch, with the same draws as `evaluate`."""
        check_labels(self, x, y)
        self.check_values(x)
        with self._evaluating():
            return super().test_on_batch(x, y, *args, **kwargs)

    @contextmanager
    def _evaluating(self, seeded: bool = True) -> Iterator[None]:
        state = self._state
        state.is_evaluating = True
        state.seeds = EvaluationSeeds(self if seeded else None)
        try:
            yield
        finally:
            state.is_evaluating = False
            state.seeds.restore()

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the representation, as `keras.Model.predict`."""
        return super().predict(self.input_kind.as_data(x), *args, **kwargs)

    @property
    def needs_full_batches(self) -> bool:
        """Whether `fit` leaves out what remains of arrays after the last full batch."""
        return super().needs_full_batches or self.needs_static_batches

    @property
    def needs_static_batches(self) -> bool:
        """Whether a step is traced for each size of batches."""
        return isinstance(self._gradients, CachedGradients)

    # Showing and saving

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Print a summary, as `keras.Model.summary`, with output shapes for any batch size.

        Args:
            *args: as in `keras.Model.summary`.
            **kwargs: as in `keras.Model.summary`.
        """
        if self._state.step_specs is None:
            super().summary(*args, **kwargs)
            return
        x, y, _ = keras.utils.unpack_x_y_sample_weight(of_any_batch_size(self._state.step_specs))
        with (
            self.distribute_strategy.scope(),
            output_shapes_of(self, lambda: trace(self, x, y, training=True)),
        ):
            super().summary(*args, **kwargs)

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
        return [*super().metrics, *self._state.loss_trackers.values(), *probe]

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the values of all metrics, a named loss that is the total loss only as `loss`."""
        logs = super().get_metrics_result()
        if self._has_one_loss:
            logs.pop(next(iter(self._state.loss_trackers)), None)
        return logs

    @property
    def _has_one_loss(self) -> bool:
        """Whether the total loss is the only named loss, and its metric would be the same."""
        state = self._state
        if len(state.loss_trackers) != 1 or state.adds_losses:
            return False
        (name,) = state.loss_trackers
        is_regularized = any(v.regularizer is not None for v in self.trainable_weights)
        return getattr(self, "loss_weights", {}).get(name, 1.0) == 1.0 and not is_regularized

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        config = keras.layers.Layer.get_config(self)
        return {**config, **serialize_parts(encoder=self.encoder, augment=self.augment)}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Any:
        """Make the trainer that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))

    def get_build_config(self) -> dict | None:
        """Return the shapes and dtypes that the training step was built for."""
        if self._state.step_specs is None:
            return super().get_build_config()
        return build_config_of(self)

    def build_from_config(self, config: dict) -> None:
        """Create all variables for the shapes in `config`."""
        if "step" not in config:
            super().build_from_config(config)
            return
        x, y, _ = keras.utils.unpack_x_y_sample_weight(specs_in(config))
        build_step_for(self, x, y)
        quantize_again(self, config.get("quantization", []))

    def set_weights(self, weights: list[Any]) -> None:
        """Set all weights, those of teachers included, as `keras.Model.set_weights`."""
        super().set_weights(weights)
        self._state.is_started = self._state.step_specs is not None

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Load all state that `save_weights` wrote: of a trainer that is built.

        Args:
            filepath: path of a file that `save_weights` or `callbacks.ModelCheckpoint` wrote.
            *args: as in `keras.Model.load_weights`.
            **kwargs: as in `keras.Model.load_weights`.

        Raises:
            ValueError: if the state of training does not exist yet and would not be restored.
        """
        if self._state.step_specs is None:
            raise ValueError(
                f"{type(self).__name__} must be built before its weights can be loaded: teachers, "
                "heads and queues would keep their initial values. Call `trainer.build(shape)` "
                "with the shape of a batch of `x`, such as (None, 32, 32, 3), or "
                "`trainer.build_step(x, y)` with `keras.KerasTensor`s. "
                f"Received: filepath={str(filepath)!r} and a trainer that is not built"
            )
        if not self.compiled:
            warnings.warn(
                "Only weights of the model are loaded: the state of the optimizer and of a probe "
                "is restored if the trainer is compiled first.",
                stacklevel=2,
            )
        super().load_weights(filepath, *args, **kwargs)

    def save_own_variables(self, store: Any) -> None:
        """Save the trainer's own weights and the states of all seed generators.

        Keras leaves the states out. A run that goes on from a file would draw again what it drew
        at its start.
        """
        super().save_own_variables(store)
        for number, state in enumerate(seed_states(self)):
            store[f"seed_generator_state_{number}"] = state.numpy()
        store["is_started"] = np.array(self._state.is_started)

    def load_own_variables(self, store: Any) -> None:
        """Load what `save_own_variables` saved."""
        saved = {key: store[key] for key in list(store.keys())}
        for number, state in enumerate(seed_states(self)):
            value = saved.pop(f"seed_generator_state_{number}", None)
            if value is not None:  # plain Keras did not write any
                state.assign(value)
        # files of earlier versions do not tell
        is_started = bool(np.asarray(saved.pop("is_started", True)))
        super().load_own_variables(saved)
        self._state.is_started = is_started
