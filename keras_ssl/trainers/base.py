"""The road that every method shares: batch, views, losses, gradients, update."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_ssl import distribute
from keras_ssl.callbacks import StopOnNaN
from keras_ssl.distribute.fit import DistributedFit, resolve_jit_compile, run_on_shapes
from keras_ssl.trainers.batch import Batch, Update
from keras_ssl.trainers.probe import OnlineProbe


class SelfSupervisedModel(DistributedFit, keras.Model):
    """The base of all trainers: a `keras.Model` whose targets come from its own input.

    A method subclasses it and implements `compute_losses(batch, training)`, which returns a
    dictionary of named scalars, each the mean over this replica's examples. The base does the
    rest: views, gradients, loss weights and regularisation, mixed precision, replicas, one metric
    a named loss, the online probe, validation and saving. In order, a training step is

        batch -> augment -> compute_losses -> gradients -> optimizer -> after_update

    What a method may fill in besides:

    - `check_views(views)`: raise a `ValueError` on input that the method cannot train on. It sees
      shapes and is called before the first step.
    - `after_update()`: what follows an optimizer step, such as moving a teacher.
    - `updates()`: the gradient steps of a training step. The default is one, over all trainable
      variables. An adversarial method returns two.
    - `call(x)`: the representation. The default is `encoder(x)`.
    - the key `"representation"` among the losses: the features of the batch as the step computed
      them, in the order of `x`, for the online probe to learn from. Without it, the probe encodes
      `x` once more.

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
    ...         return {"reconstruction": keras.ops.mean(error), "representation": code}
    >>> trainer = Autoencoder(keras.layers.Dense(2), keras.layers.Dense(8))
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(np.ones((16, 8), "float32"), verbose=0)
    >>> sorted(history.history)
    ['loss', 'reconstruction']
    >>> trainer.predict(np.ones((4, 8), "float32"), verbose=0).shape
    (4, 2)
    """

    def __init__(
        self,
        encoder: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, part in (("encoder", encoder), ("augment", augment)):
            if part is not None and not isinstance(part, keras.layers.Layer):
                raise TypeError(
                    f"`{name}` must be a Keras layer or model. Received: {part} of type {type(part)}"
                )
        self.encoder = encoder
        self.augment = augment
        self.probe = None
        self._loss_trackers = {}
        self._step_specs = None

    # What a method fills in

    def compute_losses(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the named losses of a batch, each a scalar mean over this replica's examples."""
        raise NotImplementedError(f"{type(self).__name__} must implement `compute_losses`.")

    def check_views(self, views: Any) -> None:
        """Raise a `ValueError` if the method cannot train on views of these shapes."""

    def after_update(self) -> None:
        """Do what follows an optimizer step."""

    def updates(self) -> list[Update]:
        """Return the gradient steps of one training step."""
        return [Update(self.compute_losses, self.trainable_weights, self.optimizer)]

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the representation of `x`."""
        return self.encoder(x, training=training)

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
    ) -> None:
        """Configure the trainer; the loss belongs to the method and is not named here.

        Args:
            optimizer: Keras optimizer, its name, or, for a method with several gradient steps, a
                dictionary of them by the method's names.
            probe: an `OnlineProbe`, if the data carries labels and their linear separability is
                to be watched.
            loss_weights: what to multiply the named losses with in the total `loss`. A loss that
                is not named counts once.
            run_eagerly: as in `keras.Model.compile`.
            steps_per_execution: as in `keras.Model.compile`.
            jit_compile: as in `keras.Model.compile`. Falls back to `False` with a warning where
                the strategy makes XLA impossible.
            auto_scale_loss: as in `keras.Model.compile`.

        Raises:
            TypeError: if `probe` is not an `OnlineProbe`.
            ValueError: if one of several optimizers keeps an average of the weights.
        """
        if probe is not None and not isinstance(probe, OnlineProbe):
            raise TypeError(f"`probe` must be a `keras_ssl.trainers.OnlineProbe`. Received: {probe}")
        jit_compile = resolve_jit_compile(jit_compile, self._distribute_strategy)
        optimizers = optimizer if isinstance(optimizer, dict) else {"main": optimizer}
        scaled = {}
        for name, one in optimizers.items():
            # Keras makes the optimizer of a name and wraps it for mixed precision
            super().compile(
                optimizer=one,
                run_eagerly=run_eagerly,
                steps_per_execution=steps_per_execution,
                jit_compile=jit_compile,
                auto_scale_loss=auto_scale_loss,
            )
            scaled[name] = self.optimizer
            if len(optimizers) > 1 and getattr(one, "use_ema", False):
                raise ValueError(
                    "`use_ema` is not possible with several optimizers: Keras puts the averages of "
                    "the first one into all weights. Use `keras.callbacks.SwapEMAWeights`. "
                    f"Received: optimizer={optimizer}"
                )
        self.optimizers = scaled
        self.optimizer = next(iter(scaled.values()))
        self.probe = probe
        self.loss_weights = dict(loss_weights or {})
        self._compile_arguments = {
            "optimizer": optimizer if isinstance(optimizer, dict) else scaled["main"],
            "probe": probe,
            "loss_weights": loss_weights,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
        }
        if self._step_specs is not None:
            self._build_training_state()

    def get_compile_config(self) -> dict | None:
        """Return the arguments of `compile`, serialised."""
        if self.compiled:
            return keras.saving.serialize_keras_object(self._compile_arguments)
        return None

    def compile_from_config(self, config: dict) -> None:
        """Compile as `config` says."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    # Building

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
        if self._step_specs is None:
            self._trace_losses(x)
        if self.compiled:
            self._build_training_state()

    def _trace_losses(self, x: Any) -> None:
        """Run the losses on shapes: every layer is built, and the losses' names are known."""

        def trace(x: Any) -> tuple[list[dict], Any]:
            batch = self._make_batch((x,))
            self.check_views(batch.views)
            losses = [update.compute_losses(batch, training=True) for update in self._tracing()]
            representation = _pop_representation(losses)
            if representation is None:
                representation = self(batch.x, training=False)
            return losses, representation

        losses, self._representation_spec = run_on_shapes(trace, x)
        names = [name for update in losses for name in update]
        for name, scalar in zip(names, keras.tree.flatten(losses), strict=True):
            if len(scalar.shape) or name == "loss":
                raise ValueError(
                    "`compute_losses` must return scalars under names other than 'loss'. "
                    f"Received: {name} of shape {scalar.shape}"
                )
        self._loss_trackers = {name: keras.metrics.Mean(name=name) for name in dict.fromkeys(names)}
        self._step_specs = x
        self.built = True

    def _tracing(self) -> list[Update]:
        # before `compile` there are no optimizers to put into the updates
        if not self.compiled:
            self.optimizer, self.optimizers = None, _AnyKey()
        return self.updates()

    def _build_training_state(self) -> None:
        unknown = set(self.loss_weights) - set(self._loss_trackers)
        if unknown:
            raise ValueError(
                f"`loss_weights` must name losses of {type(self).__name__}: "
                f"{sorted(self._loss_trackers)}. Received: {sorted(unknown)}"
            )
        for update in self.updates():
            if not update.optimizer.built:
                update.optimizer.build(update.variables)
        if self.probe is not None and not self.probe.built:
            self.probe.build(self._representation_spec.shape)

    def get_build_config(self) -> dict | None:
        """Return the shapes and dtypes that the training step was built for."""
        if self._step_specs is None:
            return super().get_build_config()
        return {"step": keras.saving.serialize_keras_object(self._step_specs)}

    def build_from_config(self, config: dict) -> None:
        """Create all variables for the shapes in `config`."""
        if "step" in config:
            self.build_step(keras.saving.deserialize_keras_object(config["step"]), None)
        else:
            super().build_from_config(config)

    # Steps

    def _make_batch(self, data: Any) -> Batch:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        # validation sees views as well: without them a view-based loss means nothing
        views = x if self.augment is None else self.augment(x, training=True)
        return Batch(x, views, y, sample_weight)

    def _total(self, losses: dict[str, Any]) -> Any:
        """The weighted sum of the named losses and of the layers' regularisation."""
        weighted = [self.loss_weights.get(name, 1.0) * loss for name, loss in losses.items()]
        return ops.sum(ops.stack([ops.cast(term, "float32") for term in weighted + self.losses]))

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step on a batch and return the running means of all metrics."""
        batch = self._make_batch(data)
        losses, total, representation = {}, 0.0, None
        for update in self.updates():
            with tf.GradientTape() as tape:
                these = update.compute_losses(batch, training=True)
                representation = these.pop("representation", representation)
                loss = self._total(these)
                # Keras' optimizers sum gradients over replicas; the mean is wanted
                scaled = update.optimizer.scale_loss(loss / distribute.replica_count())
            gradients = tape.gradient(scaled, update.variables)
            update.optimizer.apply(gradients, update.variables)
            losses |= these
            total += loss
        self.after_update()
        if self.probe is not None:
            if representation is None:
                representation = self(batch.x, training=False)
            self.probe.learn(representation, batch.y)
        return self._record(losses, total, batch)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Compute the losses of a batch without learning from it."""
        batch = self._make_batch(data)
        losses, total = {}, 0.0
        for update in self.updates():
            these = update.compute_losses(batch, training=False)
            these.pop("representation", None)
            losses |= these
            total += self._total(these)
        if self.probe is not None:
            x = batch.x if self.augment is not None else keras.tree.flatten(batch.x)[0]
            self.probe.evaluate(self(x, training=False), batch.y)
        return self._record(losses, total, batch)

    def _record(self, losses: dict[str, Any], total: Any, batch: Batch) -> dict[str, Any]:
        size = ops.shape(keras.tree.flatten(batch.x)[0])[0]
        self._loss_tracker.update_state(total, sample_weight=size)
        for name, loss in losses.items():
            self._loss_trackers[name].update_state(loss, sample_weight=size)
        return self.get_metrics_result()

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Train, as `keras.Model.fit`, with `callbacks.StopOnNaN` among the callbacks.

        Args:
            x: `tf.data.Dataset` of `x` or `(x, y)`, `keras.utils.PyDataset`, or arrays. Without
                an augmentation, `x` is a tuple of ready views.
            y: labels for the probe, if `x` is an array.
            batch_size: examples a batch, if `x` is an array. With several replicas, the examples
                of all of them.
            **kwargs: as in `keras.Model.fit`.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: if the data is empty or cannot be trained on, before the first step.
            FloatingPointError: if a loss becomes NaN; names the loss and the step.
        """
        callbacks = kwargs.pop("callbacks", None)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [StopOnNaN(), *keras.tree.flatten([] if callbacks is None else callbacks)]
        return super().fit(x, y, batch_size, callbacks=callbacks, **kwargs)

    # Keras' views of the model

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        """The variables that the method trains; the probe trains its own."""
        own = () if self.probe is None else {id(v) for v in self.probe.trainable_weights}
        return [v for v in super().trainable_weights if id(v) not in own]

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        config = keras.layers.Layer.get_config(self)
        return {**config, **serialize_parts(encoder=self.encoder, augment=self.augment)}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Any:
        """Make the trainer that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))


def serialize_parts(**parts: Any) -> dict[str, Any]:
    """Serialise Keras objects by name, as `get_config` of a trainer returns them."""
    return {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}


def _pop_representation(losses: list[dict[str, Any]]) -> Any:
    """Take the representation out of the losses; the last that is given counts."""
    representations = [these.pop("representation", None) for these in losses]
    return next((r for r in reversed(representations) if r is not None), None)


class _AnyKey(dict):
    """Stands in for the optimizers by name while there are none."""

    def __missing__(self, key: str) -> None:
        return None
