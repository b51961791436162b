"""Building a trainer: all state of training exists before the first step."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import keras

from keras_ssl._keras_internals import forget_losses, run_on_shapes
from keras_ssl.distribute.replicas import shapes_of_replica
from keras_ssl.ops.schedules import at_step
from keras_ssl.trainers.checks import describe
from keras_ssl.trainers.engine.foreign import foreign_calls_named
from keras_ssl.trainers.engine.replica_means import check_no_mean_by_hand

if TYPE_CHECKING:
    from keras_ssl.trainers.base import SelfSupervisedModel


def build_step_for(trainer: "SelfSupervisedModel", x: Any, y: Any) -> None:
    """Create all that a training step needs, and check the shapes of the data."""
    state = trainer._state
    trainer.input_kind.check_shapes(trainer, x)
    state.gradients.prepare(x, training=not state.is_evaluating)
    if state.step_specs is None:
        trace(trainer, x, y, training=True)
        _create_state(trainer, x, y)
    key = (_signature((x, y)), state.is_evaluating)
    if key not in state.checked:
        if state.checked or state.is_evaluating:
            trace(trainer, x, y, training=not state.is_evaluating)
        state.checked.add(key)
    if trainer.compiled:
        build_training_state(trainer)


def trace(trainer: "SelfSupervisedModel", x: Any, y: Any, training: bool) -> None:
    """Run the losses on shapes: builds all layers, raises on data that cannot be used."""
    state = trainer._state

    def losses_and_features(*data: Any) -> tuple[list[dict], Any]:
        batch = trainer._make_batch(data)
        # a scope of its own notes what layers add by `add_loss`
        with at_step(trainer.steps_taken), keras.StatelessScope(collect_losses=True) as scope:
            losses = [update.compute_losses(batch, training) for update in trainer.updates()]
        state.adds_losses = bool(scope.losses)
        check_no_mean_by_hand(losses, trainer.distribute_strategy.num_replicas_in_sync)
        # called even if the step returns features, so that Keras knows the model's input
        features = trainer._representation_of(batch)
        for one in losses:
            features = one.pop("representation", features)
        trainer.check_representation(features)
        return losses, features

    state.is_tracing = True
    data = (x, y) if trainer.uses_labels else (x,)
    try:
        replicas = trainer.distribute_strategy.num_replicas_in_sync
        with shapes_of_replica(replicas), foreign_calls_named(trainer):
            losses, state.representation_spec = run_on_shapes(losses_and_features, *data)
    except Exception as error:
        _explain(trainer, error, data)
        raise
    finally:
        state.is_tracing = False
    state.loss_names = [name for update in losses for name in update]
    forget_losses(trainer)


def _explain(trainer: "SelfSupervisedModel", error: Exception, data: tuple) -> None:
    """Raise a `ValueError` in words instead of an error from within a network, if possible."""

    def represent(*data: Any) -> Any:
        return trainer._representation_of(trainer._make_batch(data))

    try:
        with shapes_of_replica(trainer.distribute_strategy.num_replicas_in_sync):
            features = run_on_shapes(represent, *data)
    except Exception:
        features = None
    if features is not None:
        try:
            trainer.check_representation(features)
        except ValueError as cause:
            raise cause from error
    if isinstance(error, (AttributeError, KeyError, IndexError)):
        raise ValueError(
            f"{type(trainer).__name__} cannot be trained on these data. Expected views that "
            "`encoder` takes, and an encoder that returns what the next network takes. "
            f"Received: x={describe(data[0])}, and {type(error).__name__}: {error}"
        ) from error


def _create_state(trainer: "SelfSupervisedModel", x: Any, y: Any) -> None:
    """Create what belongs to training and not to a network: metrics, teachers, own state."""
    state, names = trainer._state, trainer._state.loss_names
    if "loss" in names or len(set(names)) < len(names):
        raise ValueError(
            "`compute_losses` must return losses under different names, none of which is "
            f"'loss', the name of their total. Received: {names}"
        )
    state.loss_trackers = {name: keras.metrics.Mean(name=name) for name in names}
    state.step_specs = (x, y) if trainer.uses_labels else (x,)
    trainer._tracker.unlock()  # a call of the encoder alone has locked it
    for teacher in state.teachers:
        teacher.build()
    trainer.built = True
    trainer._tracker.lock()
    start(trainer)


def start(trainer: "SelfSupervisedModel") -> None:
    """Set state that starts as a copy of other weights."""
    for teacher in trainer._state.teachers:
        teacher.start()
    trainer.after_build()


def build_training_state(trainer: "SelfSupervisedModel") -> None:
    """Build what `compile` has brought: optimizers, groups of parameters, and the probe."""
    state = trainer._state
    unknown = set(trainer.loss_weights) - set(state.loss_trackers)
    if unknown:
        raise ValueError(
            f"`loss_weights` must name losses of {type(trainer).__name__}: "
            f"{sorted(state.loss_trackers)}. Received: {sorted(unknown)}"
        )
    updates = trainer.updates()
    state.groups.name(vars(trainer), [v for update in updates for v in update.variables])
    for update in updates:
        state.groups.prepare(update.optimizer, update.variables)
        if not update.optimizer.built:
            update.optimizer.build(update.variables)
    if trainer.probe is not None and not trainer.probe.built:
        trainer.probe.build(state.representation_spec.shape)


def build_for_shape(trainer: "SelfSupervisedModel", shape: Any) -> None:
    """Build for input of a shape, or a structure of shapes."""
    try:
        _build_for(trainer, _specs_of_shape(trainer, shape, keras.config.floatx()))
    except (TypeError, ValueError) as error:
        # a shape does not tell the dtype: tokens and indices are integers
        try:
            _build_for(trainer, _specs_of_shape(trainer, shape, "int32"))
        except (TypeError, ValueError):
            raise error from None


def _build_for(trainer: "SelfSupervisedModel", specs: Any) -> None:
    """Build for a batch of `x` or, where the data holds ready views, for one view."""
    if trainer.augment is None and (trainer.view_count or 1) > 1 and not _are_views(trainer, specs):
        specs = (specs,) * trainer.view_count
    labels = keras.KerasTensor((None,), "int32") if trainer.uses_labels else None
    with trainer.distribute_strategy.scope():
        build_step_for(trainer, specs, labels)


def _are_views(trainer: "SelfSupervisedModel", x: Any) -> bool:
    return isinstance(x, (tuple, list)) and len(x) >= trainer.view_count


def build_by_call(trainer: "SelfSupervisedModel", x: Any) -> None:
    """Build for what the trainer is called on, if it can be trained on that."""
    leaves = keras.tree.flatten(x)
    if not all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves):
        return
    # The encoder may take what training does not, such as images of another size. Then only
    # the encoder is built, and `load_weights` says that the rest is not.
    with suppress(ValueError, TypeError, NotImplementedError):
        _build_for(trainer, keras.tree.map_structure(_spec_of, x))


def _specs_of_shape(trainer: "SelfSupervisedModel", shape: Any, default: str) -> Any:
    """Return specs of tensors of these shapes, with the dtypes of the encoder's inputs if known."""
    if isinstance(shape, dict):
        return {name: _specs_of_shape(trainer, one, default) for name, one in shape.items()}
    if any(isinstance(size, (tuple, list, dict)) for size in shape):
        return tuple(_specs_of_shape(trainer, one, default) for one in shape)
    inputs = getattr(trainer.encoder, "inputs", None) or []
    dtypes = {one.dtype for one in inputs if len(one.shape) == len(shape)}
    dtype = dtypes.pop() if len(dtypes) == 1 else default
    return keras.KerasTensor(tuple(shape), dtype)


def _spec_of(x: Any) -> keras.KerasTensor:
    """The shape and dtype of a tensor or array, for batches of any size."""
    sparse = bool(getattr(x, "sparse", False)) or type(x).__name__ == "SparseTensor"
    dtype = keras.backend.standardize_dtype(x.dtype)
    return keras.KerasTensor((None, *x.shape[1:]), dtype, sparse=sparse)


def _signature(specs: Any) -> Any:
    """What tells one batch's shapes from another's."""
    leaves = keras.tree.flatten_with_path(specs)
    return tuple((path, None if one is None else (one.shape, one.dtype)) for path, one in leaves)
