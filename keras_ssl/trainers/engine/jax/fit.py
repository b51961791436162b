"""`fit`, `evaluate` and `predict` of a trainer on Keras' JAX backend.

Keras keeps the values of variables in tuples of lists while it trains, and takes steps that are
functions of them. Here a step is written as for TensorFlow, `train_step(data)`, and becomes such a
function in a `StepScope`.

Private names of Keras that this file uses (`epochs.py` and `random_states.py` list theirs):

- `_symbolic_build`, which Keras calls in `fit`, `evaluate` and `train_on_batch` before any step.
- `_get_jax_state` and `jax_state_sync`, by which Keras reads the values before steps and writes
  them back, and `_jax_state` and `_jax_state_synced`, where it keeps them.
- `_make_function`, which takes `steps_per_execution` steps of an iterator.
- `EpochIterator.data_adapter`, and of the adapters `_dataset`, `py_dataset`,
  `_first_batches` and `_inputs`.

`tests/trainers/engine/jax/test_fit.py` fails if one of them is removed.
"""

from collections.abc import Callable
from typing import Any

import jax
import keras
from jax.experimental.sparse import JAXSparse

from keras_ssl._keras_internals import stateless_scope
from keras_ssl.data._autotuning import without_autotuning
from keras_ssl.distribute.device_choice import OneReplica
from keras_ssl.trainers.engine._hooks import (
    FitHooks,
    are_arrays,
    is_plain,
    pack,
    specs_of_elements,
)
from keras_ssl.trainers.engine.epochs import Epochs
from keras_ssl.trainers.engine.first_batch import look_at_first_batch
from keras_ssl.trainers.engine.foreign import (
    check_data,
    check_distribution,
    foreign_calls_named,
)
from keras_ssl.trainers.engine.jax._array_batches import ArrayBatches
from keras_ssl.trainers.engine.jax.differentiation import StepScope


def is_eager() -> bool:
    """Return whether operations run eagerly, and variables have their own values."""
    return stateless_scope() is None


def resolve_jit_compile(jit_compile: bool | str, strategy: Any) -> bool | str:
    """Return the `jit_compile` that Keras gets: on JAX, what was passed."""
    return jit_compile


class DistributedFit(FitHooks):
    """Mix-in that lets a `keras.Model` with an own `train_step(data)` train on JAX.

    The model writes `train_step`, `test_step` and `predict_step` of a batch, which read and assign
    variables as on TensorFlow. All variables that they use must be among `training_variables`.

    A model without an own `train_step` needs no mix-in on JAX: Keras trains it on any number of
    devices under `keras.distribution`.

    Args:
        *args: as of the Keras class.
        **kwargs: as of the Keras class.
    """

    _distribute_strategy = None
    distribute_strategy = OneReplica()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.train_step is keras.Model.train_step:
            raise RuntimeError(
                "`DistributedFit` lets plain Keras models train under strategies of TensorFlow. On "
                "the JAX backend no mix-in is needed: leave it out, and train on several devices "
                f"under `keras.distribution`. Received: {cls.__name__} on the backend 'jax'"
            )
        check_distribution()
        return super().__new__(cls, *args, **kwargs)

    # Values of variables in place of variables

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_jax_state", "_jax_state_synced"):
            # Keras sets them at every step, and would look for layers among all of the values
            object.__setattr__(self, name, value)
            return
        super().__setattr__(name, value)

    def _variables_of(self, kind: str) -> list[keras.Variable]:
        """Return the variables of one of the parts of Keras' state."""
        if kind == "trainable_variables":
            return self.trainable_variables
        if kind == "optimizer_variables":  # evaluation reads the optimizer's step
            return []
        metrics = self.metrics_variables
        if kind == "metrics_variables":
            return metrics
        taken = {id(one) for one in [*self.trainable_variables, *metrics]}
        groups = self.training_variables().values()
        others = [one for group in groups for one in group]
        return list({id(one): one for one in others if id(one) not in taken}.values())

    def _get_jax_state(self, purge_model_variables: bool = False, **kinds: bool) -> tuple:
        # Keras would purge variables, which then read as their initial values. Here reading one
        # that a step has taken is an error of JAX.
        values = [
            [variable.value for variable in self._variables_of(kind)]
            for kind, is_wanted in kinds.items()
            if is_wanted
        ]
        return _without_sharing(values)

    def jax_state_sync(self) -> None:
        """Write the values that the last step returned into the variables."""
        state = getattr(self, "_jax_state", None)
        if not state or self._jax_state_synced:
            return
        for kind, values in state.items():
            for variable, value in zip(self._variables_of(kind), values, strict=True):
                variable.assign(value)
        self._jax_state_synced = True

    def _as_function(self, step: Callable[[Any], Any], *kinds: str) -> Callable[[tuple, Any], Any]:
        """Return the step as a function of a state and a batch that returns logs and a state."""

        def function(state: tuple, data: Any) -> tuple[Any, tuple]:
            groups = [self._variables_of(kind) for kind in kinds]
            pairs = [
                pair
                for variables, values in zip(groups, state, strict=True)
                for pair in zip(variables, values, strict=True)
            ]
            with StepScope(pairs) as scope, foreign_calls_named(self):
                outputs = step(data)
            after = tuple([scope.get_current_value(one) for one in group] for group in groups)
            return outputs, after

        if self.run_eagerly or not self.jit_compile:
            return function
        shardings = None
        if keras.distribution.distribution() is not None:
            shardings = (
                None,
                tuple([one.value.sharding for one in self._variables_of(kind)] for kind in kinds),
            )
        return jax.jit(function, donate_argnums=0, out_shardings=shardings)

    def make_train_function(self, force: bool = False) -> None:
        """Make the function of a training step."""
        if force or self.train_function is None:
            kinds = ("trainable", "non_trainable", "optimizer", "metrics")
            step = self._as_function(self.train_step, *(f"{kind}_variables" for kind in kinds))
            self.train_function = self._make_function(step)

    def make_test_function(self, force: bool = False) -> None:
        """Make the function of an evaluation step."""
        if force or self.test_function is None:
            kinds = ("trainable", "non_trainable", "metrics")
            step = self._as_function(self.test_step, *(f"{kind}_variables" for kind in kinds))
            self.test_function = self._make_function(step)

    def make_predict_function(self, force: bool = False) -> None:
        """Make the function of a prediction step."""
        if force or self.predict_function is None:
            kinds = ("trainable_variables", "non_trainable_variables")
            step = self._as_function(self.predict_step, *kinds)
            self.predict_function = self._make_function(step, concatenate_outputs=True)

    def predict_step(self, data: Any) -> Any:
        """Compute the output for a batch."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self(x, training=False)

    # Before the steps

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is None:
            specs = keras.tree.map_structure(_spec_of, data_batch)
        else:
            specs = _specs_of_batch(iterator)
        x, y, _ = keras.utils.unpack_x_y_sample_weight(specs)
        check_distribution()
        check_data(x)
        first = next(one for one in keras.tree.flatten(x) if one is not None)
        _check_shared(first.shape[0] if first.shape else None, "x")
        self.build_step(x, y)
        if self._pending_validation is not None:
            pending, self._pending_validation = self._pending_validation, None
            self.check_evaluation_shapes(*pending)
        self.before_steps()
        if iterator is not None:
            look, self._pending_look = self._pending_look, None
            if look is not None:
                look_at_first_batch(iterator, look)
            if self._keeper is not None and self._epochs is None:
                self._epochs = Epochs(iterator, (x, y), self._keeper, self)
                self._keeper.attach(self._epochs)

    def _batches_of(
        self, x: Any, y: Any, batch_size: int | None, arguments: dict[str, Any]
    ) -> tuple[Any, Any, int | None]:
        data = pack(x, y, arguments.get("sample_weight"))
        self._check_batches_shared(x, batch_size, arguments)
        if not are_arrays(data) or not is_plain(data, y, batch_size, arguments, jax.Array):
            return x, y, batch_size
        seed = self._shuffle_seed(arguments)
        arguments.pop("sample_weight", None)
        arguments["shuffle"] = False
        return ArrayBatches(data, batch_size or 32, seed, self.needs_full_batches), None, None

    def _check_batches_shared(
        self, x: Any, batch_size: int | None, arguments: dict[str, Any]
    ) -> None:
        drops = self.needs_full_batches or arguments.get("steps_per_epoch") is not None
        _check_arrays_shared(x, batch_size, "x", drops)
        validation = keras.utils.unpack_x_y_sample_weight(arguments.get("validation_data"))[0]
        size, drops = arguments["validation_batch_size"], arguments.get("validation_steps")
        _check_arrays_shared(validation, size, "validation_data", drops is not None)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Evaluate, as `keras.Model.evaluate`."""
        _check_arrays_shared(x, batch_size, "x", kwargs.get("steps") is not None)
        return super().evaluate(without_autotuning(x), y, batch_size, **kwargs)

    def predict(self, x: Any, batch_size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Predict, as `keras.Model.predict`."""
        _check_arrays_shared(x, batch_size, "x")
        return super().predict(x, batch_size, *args, **kwargs)


def _check_shared(size: int | None, name: str) -> None:
    """Raise a `ValueError` if the devices of a distribution cannot share a batch equally.

    Args:
        size: examples in the batch; `None` if that is not known.
        name: the argument that the batch is of.
    """
    distribution = keras.distribution.distribution()
    if distribution is None or size is None:
        return
    shares = distribution.num_model_replicas
    if size % shares:
        raise ValueError(
            f"Under `{type(distribution).__name__}` devices share each batch of `{name}` equally. "
            f"Expected batches of a multiple of {shares} examples, the last one included: choose "
            f"another `batch_size`, or leave out the remainder. Received: a batch of {size}"
        )


def _check_arrays_shared(x: Any, batch_size: int | None, name: str, drops: bool = False) -> None:
    """Raise a `ValueError` if devices cannot share the batches of arrays equally.

    Args:
        x: data, which is accepted if it is no structure of arrays.
        batch_size: examples per batch; `None` means 32.
        name: the argument that holds the data.
        drops: whether what remains after the last full batch is not read.
    """
    if x is None or not are_arrays(x):
        return
    examples, size = len(keras.tree.flatten(x)[0]), batch_size or 32
    _check_shared(min(examples, size), name)
    if not drops:
        _check_shared(examples % size, name)


def _without_sharing(values: list[list[jax.Array]]) -> tuple[list[jax.Array], ...]:
    """Return the same values in buffers of their own, since a step takes each only once."""
    seen = set()

    def own(value: jax.Array) -> jax.Array:
        if id(value) in seen:
            return value.copy()
        seen.add(id(value))
        return value

    return tuple([own(value) for value in group] for group in values)


def _spec_of(value: Any) -> keras.KerasTensor | None:
    if value is None:
        return None
    dtype = keras.backend.standardize_dtype(value.dtype)
    is_sparse = bool(getattr(value, "sparse", False)) or isinstance(value, JAXSparse)
    is_ragged = hasattr(value, "row_splits")
    return keras.KerasTensor(tuple(value.shape), dtype, sparse=is_sparse, ragged=is_ragged)


def _specs_of_batch(iterator: Any) -> Any:
    """Return the shapes of a batch of Keras' iterator of epochs, without reading from it if known.

    Keras' own way is to read a batch, which would draw the next order of a seeded shuffle.
    """
    adapter = iterator.data_adapter
    dataset = getattr(adapter, "_dataset", None)
    if hasattr(dataset, "element_spec"):
        return specs_of_elements(dataset.element_spec)
    batches = getattr(adapter, "py_dataset", None)
    if isinstance(batches, ArrayBatches):
        return batches.specs
    if batches is not None and batches.num_batches is not None:
        return keras.tree.map_structure(_spec_of, adapter._standardize_batch(batches[0]))
    peeked = getattr(adapter, "_first_batches", None)
    if peeked:  # of a generator
        return keras.tree.map_structure(_spec_of, peeked[0])
    arrays = getattr(adapter, "_inputs", None)
    if arrays is not None:
        return keras.tree.map_structure(_spec_of_rows, arrays)
    for _, _, found in iterator:
        batch = next(found)
        break
    iterator.reset()
    return keras.tree.map_structure(_spec_of, batch)


def _spec_of_rows(array: Any) -> keras.KerasTensor | None:
    spec = _spec_of(array)
    if spec is None:
        return None
    return keras.KerasTensor((None, *spec.shape[1:]), spec.dtype, spec.sparse, ragged=spec.ragged)
