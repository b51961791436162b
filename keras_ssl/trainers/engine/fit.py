"""`fit`, `evaluate` and `predict` of a Keras model under every `tf.distribute` strategy.

The model is built before its first step, batches are split among workers, steps work with several
replicas, and an `EpochKeeper` among the callbacks can resume a run in the middle of an epoch.

Private names of Keras that this file uses (`epochs.py` and `random_states.py` list theirs):

- `_maybe_symbolic_build`, the hook that Keras calls in `fit`, `evaluate` and `train_on_batch`
  before any callback or step. Keras' own version does not build without a strategy.
- `TFEpochIterator._distributed_dataset`, whose `element_spec` has the shapes of a batch, so that
  none is taken from the user's pipeline.
- `Model._symbolic_build`, which builds a model, its loss and its metrics from shapes, and
  `Model._compile_metrics` and `_compile_loss`, which it builds.
- `Model._distribute_strategy`, the strategy under which the model was created, or `None`.
- `Model._make_function`, which turns a step of one replica into a step of all.
- `Model._get_metrics_result_or_logs`, which returns the logs at the end of an epoch.

`tests/trainers/engine/test_fit.py` fails if one of them is removed, and `test_two_workers.py` also
if Keras learns to train on several workers.
"""

import inspect
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.trainers.data_adapters.array_slicing import train_validation_split

from keras_ssl import checks
from keras_ssl.data._autotuning import without_autotuning
from keras_ssl.distribute.worker_batches import (
    check_divisible,
    distribute_batches,
    static_batch_size,
)
from keras_ssl.distribute.workers import agree, from_chief, is_chief, is_multi_worker, strategy_name
from keras_ssl.trainers.engine._array_batches import array_batches
from keras_ssl.trainers.engine._steps import data_first, one_after_the_other, reduced_over_workers
from keras_ssl.trainers.engine._worker_callbacks import callbacks_of_worker
from keras_ssl.trainers.engine.epochs import EpochKeeper, Epochs, find_keeper
from keras_ssl.trainers.engine.first_batch import look_at_first_batch, peek


def _local_spec(spec: Any) -> keras.KerasTensor | None:
    """Return the shape and dtype of one replica's share of a dataset element."""
    if isinstance(spec, (tf.OptionalSpec, tf.NoneTensorSpec)) or spec is None:
        return None
    if not hasattr(spec, "shape"):  # PerReplicaSpec: equal specs, one per replica
        return _local_spec(spec._value_specs[0])
    is_sparse = isinstance(spec, tf.SparseTensorSpec)
    return keras.KerasTensor(
        spec.shape, keras.backend.standardize_dtype(spec.dtype), sparse=is_sparse
    )


def _map_specs(structure: Any) -> Any:
    """Map `_local_spec` over tuples, lists and dictionaries; specs are leaves."""
    if isinstance(structure, dict):
        return {key: _map_specs(value) for key, value in structure.items()}
    if isinstance(structure, (tuple, list)):
        return tuple(_map_specs(value) for value in structure)
    return _local_spec(structure)


def is_eager() -> bool:
    """Return whether operations run eagerly, outside of `tf.function`."""
    return tf.executing_eagerly()


def resolve_jit_compile(jit_compile: bool | str, strategy: tf.distribute.Strategy | None) -> Any:
    """Return the `jit_compile` that Keras gets under a strategy, which may be `None`.

    `True` becomes `False` with several replicas, with a warning: replicas of one process hold
    variables on different devices; between processes, TensorFlow cannot trace `all_gather` for
    XLA. It also becomes `False` on a TPU, where `strategy.run` compiles the step in any case.
    """
    if jit_compile is not True or strategy is None:
        return jit_compile
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return False
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return True
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        reason = "TensorFlow cannot exchange tensors between workers in a step compiled by XLA"
    else:
        reason = "XLA cannot compile a step with variables on several devices"
    warnings.warn(
        f"`jit_compile=True` is not possible under {strategy_name(strategy)} with {replicas} "
        f"replicas: {reason}. The step runs without XLA; pass `jit_compile=False` to silence this.",
        stacklevel=3,
    )
    return False


class DistributedFit:
    """Mix-in that lets a `keras.Model` train under any strategy, also with several workers.

    Keras 3 cannot train under `tf.distribute.MultiWorkerMirroredStrategy`
    ([keras issue 20585](https://github.com/keras-team/keras/issues/20585)). With this mix-in, a
    model can, with the `compile`, `fit` and `evaluate` of Keras. The mix-in must come before the
    Keras class among the bases; for a functional model, the other base is `keras.Model`.

    - Batches are global: all workers pass the same data, `fit` gives each worker its own rows, and
      every example is seen once per epoch. Data is arrays, a `tf.data.Dataset` of full batches, or
      the result of `keras_ssl.distribute.shard_batches`.
    - The model, its parts and its optimizer are created under the scope of the strategy; all
      workers call `fit` outside of it.
    - Callbacks that write or display run in the chief only: the progress bar, `ModelCheckpoint`,
      `TensorBoard`, `CSVLogger`, `BackupAndRestore`, and callbacks whose attribute `chief_only`
      is true. Other callbacks run in every worker, with equal logs.
    - `predict` runs in each worker independently.

    A model may override `build_step(x, y)`, which gets the shapes of a batch as
    `keras.KerasTensor`s before the first step, creates all variables that a training step needs,
    and raises an error for input on which the model cannot be trained.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import distribute, trainers
    >>> class MyModel(trainers.DistributedFit, keras.Model):
    ...     pass
    >>> strategy = distribute.strategy("auto")
    >>> with strategy.scope():
    ...     inputs = keras.Input((2,))
    ...     model = MyModel(inputs, keras.layers.Dense(1)(inputs))
    ...     model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=4, verbose=0)
    >>> sorted(history.history)
    ['loss', 'mae']
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        checks.tensorflow_backend()
        return super().__new__(cls, *args, **kwargs)

    _keeper: EpochKeeper | None = None
    _epochs: Epochs | None = None
    _pending_validation: Any = None
    _pending_look: Callable[[Any], None] | None = None

    def build_step(self, x: Any, y: Any) -> None:
        """Create all variables that a training step needs.

        Args:
            x: the input, a nested structure of `keras.KerasTensor`.
            y: the targets, likewise, or `None`.
        """
        if self._distribute_strategy is not None:  # without one, Keras builds in the first step
            self._symbolic_build(data_batch=(x, y, None))

    def check_evaluation_shapes(self, x: Any, y: Any, sample_weight: Any) -> None:
        """Raise an error if validation data of these shapes cannot be evaluated."""

    def before_steps(self) -> None:
        """Prepare for the steps of `fit` or `evaluate`. All variables exist by then."""

    def on_new_optimizer(self) -> None:
        """Take note that an optimizer counts its steps from 0 in a model that has been trained."""

    def check_batches(self, dataset: Any) -> Any:
        """Return the dataset of `fit` or `evaluate`, maybe with checks of every batch added."""
        return dataset

    def look_at_batch(self, x: Any) -> Callable[[Any], None] | None:
        """Return the function that `fit` calls on the first batch, before its step, or `None`.

        Args:
            x: the data of `fit`.
        """
        return None

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None:
            data_batch = iterator._distributed_dataset.element_spec
        x, y, _ = keras.utils.unpack_x_y_sample_weight(_map_specs(data_batch))
        self._batch_size = keras.tree.flatten(x)[0].shape[0]
        self._check_scope()
        with self.distribute_strategy.scope():
            self.build_step(x, y)
            if self._pending_validation is not None:
                specs, self._pending_validation = self._pending_validation, None
                self.check_evaluation_shapes(*specs)
        self.before_steps()
        if iterator is not None:
            if not getattr(iterator, "is_checked", False):  # that of validation is used again
                iterator.is_checked = True
                iterator._distributed_dataset = self.check_batches(iterator._distributed_dataset)
            look, self._pending_look = self._pending_look, None
            if look is not None:
                look_at_first_batch(iterator, look)
            self._attach_keeper(iterator, (x, y))

    def _check_scope(self) -> None:
        """Raise an error if a variable was created outside of the strategy's scope."""
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1 and not is_multi_worker(strategy):
            return
        for variable in (one for group in self.training_variables().values() for one in group):
            if not strategy.extended.variable_created_in_scope(variable.value):
                raise ValueError(
                    "The model, its parts, its optimizer and its metrics must be made under "
                    "`with strategy.scope():`. Received: a model under "
                    f"{strategy_name(strategy)} whose variable `{variable.path}` was made outside "
                    "of the scope"
                )

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Train, as `keras.Model.fit`, which documents the arguments.

        With several replicas all batches must be full, since replicas exchange tensors of the same
        size: a remainder of arrays is dropped, a `tf.data.Dataset` must have full batches.
        """
        if self._distribute_strategy is None and tf.distribute.has_strategy():
            raise ValueError(
                "The model must be made under `with strategy.scope():`. Received: a model that was "
                f"made outside, and `fit` under {strategy_name(tf.distribute.get_strategy())}"
            )
        strategy = self.distribute_strategy
        replicas = strategy.num_replicas_in_sync
        workers = is_multi_worker(strategy)
        _check_not_empty(x)
        look = self.look_at_batch(x)
        # `x` may become a dataset below, from which Keras would not infer the batch size
        kwargs["validation_batch_size"] = kwargs.get("validation_batch_size") or batch_size
        keeper = find_keeper(self, kwargs)
        if replicas > 1 or workers:
            if kwargs.get("validation_split"):
                raise ValueError(
                    f"`validation_split` is not possible with {replicas} replicas. Split the data "
                    "and pass `validation_data`. "
                    f"Received: validation_split={kwargs['validation_split']}"
                )
            size, validation = kwargs["validation_batch_size"], kwargs.get("validation_data")
            kwargs["validation_data"] = _in_full_batches(
                validation, "validation_data", size, replicas
            )
            if isinstance(x, tf.data.Dataset):
                _check_full_batches(x, "x", replicas)
        data = _pack(x, y, kwargs.get("sample_weight"))
        if _are_arrays(data) and (
            replicas > 1 or workers or _is_plain(data, y, batch_size, kwargs)
        ):
            shuffle = kwargs.get("shuffle", True)
            seed = from_chief(self.draw_shuffle_seed(), strategy) if shuffle else None
            if seed is not None and keeper is not None:
                seed = keeper.shuffle_seed(seed)  # a resumed run keeps its order
            x = _in_full_batches(
                data, "x", batch_size, replicas, shuffle, seed, self.needs_full_batches
            )
            y = batch_size = None
            kwargs.pop("sample_weight", None)
        if isinstance(x, tf.data.Dataset):
            kwargs["shuffle"] = False  # has no effect, but Keras warns of the default
        x = without_autotuning(x)
        if "validation_data" in kwargs:
            kwargs["validation_data"] = without_autotuning(kwargs["validation_data"])
        first = kwargs.get("validation_data")
        if inspect.isgenerator(first):
            first, kwargs["validation_data"] = peek(first)
        self._pending_validation = _specs_of(first)
        if workers:
            x = self._prepare_workers(x, kwargs)
        self._keeper, self._pending_look = keeper, look
        try:
            history = super().fit(x, y, batch_size, **kwargs)
            if keeper is not None:
                keeper.finish(history)
            return history
        finally:
            if keeper is not None:
                keeper.close()
            self._keeper = self._epochs = self._pending_validation = self._pending_look = None

    def _attach_keeper(self, iterator: Any, specs: Any) -> None:
        """Give the keeper, if there is one, control of the epochs that are about to run."""
        # later calls during `fit` are for validation
        if self._keeper is None or self._epochs is not None:
            return
        parts = (self._compile_metrics, self._compile_loss, self.optimizer)
        if any(part is not None and not part.built for part in parts):
            x, y = specs
            with self.distribute_strategy.scope():
                self._symbolic_build(data_batch=(x, y, None))
        self._epochs = Epochs(iterator, specs, self._keeper)
        self._keeper.attach(self._epochs)

    def training_variables(self) -> dict[str, list[keras.Variable]]:
        """Return all variables that training changes, by kind.

        These are the model's variables, with the states of its seed generators, the optimizer's
        and the metrics'. A model with variables that Keras does not know of adds them.
        """
        optimizer = [] if self.optimizer is None else self.optimizer.variables
        return {
            "model": list(self.variables),
            "optimizer": list(optimizer),
            "metrics": list(self.metrics_variables),
        }

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        if not logs and self._epochs is not None and self._epochs.is_idle:
            logs = self.get_metrics_result()  # all steps of the epoch ran before it was resumed
        return super()._get_metrics_result_or_logs(logs)

    def split_validation(self, x: Any, y: Any, arguments: dict[str, Any]) -> tuple:
        """Split arrays by `validation_split` before Keras does, so that both parts can be checked.

        Takes `x`, `y` and the other arguments of `fit`, and returns what replaces them.
        """
        split = arguments.get("validation_split")
        data = _pack(x, y, arguments.get("sample_weight"))
        replicas = self.distribute_strategy.num_replicas_in_sync
        if not split or replicas > 1 or not _are_arrays(data):
            return x, y, arguments
        if arguments.get("validation_data") is not None:
            return x, y, {**arguments, "validation_split": 0.0}
        train, validation = train_validation_split(
            (x, y, arguments.get("sample_weight")), validation_split=split
        )
        x, y, weights = train
        validation = tuple(part for part in validation if part is not None)
        changed = {"validation_split": 0.0, "validation_data": validation}
        if weights is not None:
            changed["sample_weight"] = weights
        return x, y, {**arguments, **changed}

    def _prepare_workers(self, x: Any, arguments: dict[str, Any]) -> Any:
        """Split the data of `fit` among workers, and keep what only the chief does in the chief."""
        strategy = self.distribute_strategy
        validation = arguments.get("validation_data")
        x = _for_workers(x, "x", strategy)
        if validation is not None:
            arguments["validation_data"] = _for_workers(validation, "validation_data", strategy)
        if arguments.get("class_weight") is not None:
            raise ValueError(
                "`class_weight` is not possible with several workers. Pass the weight of each "
                f"example as `sample_weight`. Received: class_weight={arguments['class_weight']}"
            )
        names = ("epochs", "initial_epoch", "steps_per_epoch", "validation_steps")
        plan = {name: arguments.get(name) for name in names}
        for name, dataset in (("x", x), ("validation_data", arguments.get("validation_data"))):
            if dataset is not None:
                plan[f"batches of {name}"] = int(dataset.cardinality)
                plan[f"element_spec of {name}"] = str(dataset.element_spec)
        of_chief = from_chief(plan, strategy)
        agree(strategy, lambda: _check_plan(plan, of_chief))
        arguments["callbacks"] = callbacks_of_worker(arguments.get("callbacks"), strategy)
        if not is_chief(strategy):
            arguments["verbose"] = 0
        return x

    def _make_function(self, step_function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        step_function = data_first(step_function)
        strategy = self.distribute_strategy
        if is_multi_worker(strategy):
            make = super()._make_function
            return one_after_the_other(self, reduced_over_workers(make, step_function))
        one_step = super()._make_function(step_function)
        if isinstance(strategy, tf.distribute.MirroredStrategy):
            return one_after_the_other(self, one_step)
        return one_step

    def make_train_function(self, force: bool = False) -> Any:
        """Make the function of a training step, as `keras.Model` does.

        Keras traces a function for unknown batch sizes once it has seen two sizes. With
        `needs_static_batches`, there is a function for each size.
        """
        if not self.needs_static_batches:
            return super().make_train_function(force)
        functions = vars(self).setdefault("_train_functions", {})
        self.train_function = functions.get(self._batch_size)
        super().make_train_function(force)
        functions[self._batch_size] = self.train_function
        return self.train_function

    def forget_train_functions(self) -> None:
        """Discard all traced steps, since what they do has changed."""
        vars(self).pop("_train_functions", None)
        self.train_function = self.test_function = self.predict_function = None

    def renew_functions(self) -> None:
        """Trace all steps anew, also those of a `fit` that is running."""
        is_training = self.train_function is not None
        self.forget_train_functions()
        if is_training:
            self.make_train_function(force=True)

    @property
    def needs_static_batches(self) -> bool:
        """Whether the batch size must be known when a step is traced."""
        return False

    @property
    def needs_full_batches(self) -> bool:
        """Whether `fit` drops the remainder of arrays after the last full batch."""
        strategy = self.distribute_strategy
        return strategy.num_replicas_in_sync > 1 or is_multi_worker(strategy)

    def draw_shuffle_seed(self) -> int:
        """Draw the seed by which `fit` shuffles arrays."""
        # from Python's generator, which `keras.utils.set_random_seed` seeds
        return random.randrange(2**31 - 1)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Evaluate, as `keras.Model.evaluate`; with several replicas on full batches only.

        With several workers, all of them must call it with the same data.
        """
        strategy = self.distribute_strategy
        workers = is_multi_worker(strategy)
        replicas = strategy.num_replicas_in_sync
        in_fit = kwargs.get("_use_cached_eval_dataset", False)
        x = without_autotuning(x)
        if (replicas > 1 or workers) and not in_fit:
            data = _pack(x, y, kwargs.get("sample_weight"))
            if isinstance(x, tf.data.Dataset):
                _check_full_batches(x, "x", replicas)
            elif _are_arrays(data):
                x, y, batch_size = _in_full_batches(data, "x", batch_size, replicas), None, None
                kwargs.pop("sample_weight", None)
            if workers:
                x = _for_workers(x, "x", strategy)
                kwargs["callbacks"] = callbacks_of_worker(kwargs.get("callbacks"), strategy)
                if not is_chief(strategy):
                    kwargs["verbose"] = 0
        return super().evaluate(x, y, batch_size, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict, as `keras.Model.predict`.

        With several workers, each predicts all of `x` by itself on one device, so that the chief
        may call this alone.
        """
        with self._without_workers():
            return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Predict, as `keras.Model.predict_on_batch`; each worker by itself."""
        with self._without_workers():
            return super().predict_on_batch(x)

    @contextmanager
    def _without_workers(self) -> Iterator[None]:
        """Replace a strategy of several workers by one device."""
        strategy = self._distribute_strategy
        if not is_multi_worker(strategy):
            yield
            return
        self._distribute_strategy = None
        try:
            yield
        finally:
            self._distribute_strategy = strategy

    def predict_step(self, data: Any) -> Any:
        """Compute the output for a batch, as `keras.Model.predict_step`.

        If the last batch has fewer examples than there are replicas, some replicas get an empty
        batch, which some layers, such as convolutions, reject. Each replica therefore computes
        one more row and drops it.
        """
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        examples = keras.tree.flatten(x)[0].shape[0]  # `None` if unknown
        if examples or self.distribute_strategy.num_replicas_in_sync == 1:
            return super().predict_step(data)
        outputs = super().predict_step((keras.tree.map_structure(_append_row, x),))
        return keras.tree.map_structure(lambda output: output[:-1], outputs)


def _specs_of(data: Any) -> tuple[Any, Any, Any] | None:
    """Return the shapes and dtypes of validation data, if known without reading from it."""
    if isinstance(data, keras.utils.PyDataset):
        data = data[0] if len(data) else None
    if hasattr(data, "element_spec"):
        specs = _map_specs(data.element_spec)
    else:
        specs = tuple(data) if isinstance(data, (tuple, list)) else (data,)
        if not _are_arrays([leaf for leaf in keras.tree.flatten(specs) if leaf is not None]):
            return None
        specs = keras.tree.map_structure(_spec_of_array, specs)
    return keras.utils.unpack_x_y_sample_weight(specs)


def _spec_of_array(array: Any) -> keras.KerasTensor | None:
    if array is None:
        return None
    dtype = keras.backend.standardize_dtype(array.dtype)
    if keras.backend.is_float_dtype(dtype):
        dtype = keras.config.floatx()  # as Keras casts arrays
    return keras.KerasTensor((None, *array.shape[1:]), dtype)


def _append_row(x: tf.Tensor) -> tf.Tensor:
    row = tf.zeros(tf.concat([[1], tf.shape(x)[1:]], axis=0), x.dtype)
    return tf.concat([x, row], axis=0)


def _are_arrays(data: Any) -> bool:
    leaves = keras.tree.flatten(data)
    return bool(leaves) and all(hasattr(x, "shape") and hasattr(x, "dtype") for x in leaves)


def _pack(x: Any, y: Any, sample_weight: Any) -> tuple:
    """Return the arguments of `fit` as a tuple, the structure of a dataset's elements."""
    if sample_weight is not None:
        return (x, y, sample_weight)
    return (x,) if y is None else (x, y)


def _is_plain(data: tuple, y: Any, batch_size: int | None, arguments: dict[str, Any]) -> bool:
    """Return whether arrays can be batched here, without features of Keras' own adapters."""
    leaves = keras.tree.flatten(data)
    dense = all(
        isinstance(leaf, tf.Tensor) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufU")
        for leaf in leaves
    )
    return (
        dense
        # Keras reports arrays of different lengths, and repeats one weight for several targets
        and len({tuple(leaf.shape[:1]) for leaf in leaves}) == 1
        and all(len(leaf.shape) for leaf in leaves)
        and (len(data) < 3 or not keras.tree.is_nested(y))
        and not (len(data) == 3 and arguments.get("class_weight") is not None)
        and not arguments.get("validation_split")
        and arguments.get("shuffle") != "batch"
        and (batch_size is not None or arguments.get("steps_per_epoch") is None)
    )


def _check_not_empty(x: Any) -> None:
    """Raise an error if the data is known to be empty."""
    if isinstance(x, tf.data.Dataset):
        empty = x.cardinality().numpy() == 0
    else:
        empty = _are_arrays(x) and 0 in keras.tree.flatten(x)[0].shape[:1]
    if empty:
        raise ValueError("`x` holds no data: expected at least one batch. Received: an empty set")


def _check_full_batches(dataset: tf.data.Dataset, name: str, replicas: int) -> None:
    """Raise an error unless all batches are full and divisible by the number of replicas."""
    size = static_batch_size(dataset)
    if size is None:
        raise ValueError(
            f"With {replicas} replicas every batch of `{name}` must be full. Expected a dataset "
            "with a static batch size: use `dataset.batch(n, drop_remainder=True)`. "
            f"Received: element_spec={dataset.element_spec}"
        )
    check_divisible(size, replicas, name)


def _for_workers(data: Any, name: str, strategy: tf.distribute.Strategy) -> Any:
    """Return a dataset of this worker's rows of the global batches."""
    if isinstance(data, tf.data.Dataset):
        _check_full_batches(data, name, strategy.num_replicas_in_sync)
        return distribute_batches(data, strategy)
    if isinstance(data, tf.distribute.DistributedDataset):
        return data
    raise ValueError(
        f"With several workers, `{name}` must be arrays or a `tf.data.Dataset`, so that every "
        "worker can take its own rows. Convert a `PyDataset` or generator by "
        "`tf.data.Dataset.from_generator`, the same in every worker, or use "
        f"`keras_ssl.distribute.shard_batches`. Received: {type(data).__name__}"
    )


def _check_plan(plan: dict[str, Any], of_chief: dict[str, Any]) -> None:
    """Raise an error if this worker's plan differs from the chief's, which would deadlock."""
    for name, value in plan.items():
        if of_chief.get(name) != value:
            raise ValueError(
                "All workers must call `fit` with the same arguments and data. Received: "
                f"{name} of {value} in this worker, and of {of_chief.get(name)} in the chief"
            )


def _in_full_batches(
    data: Any,
    name: str,
    batch_size: int | None,
    replicas: int,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = True,
) -> Any:
    """Make a dataset of batches that replicas can share from arrays; return other data as it is."""
    if not _are_arrays(data):
        return data  # batches of a PyDataset or generator are checked as they come
    batch_size = batch_size or 32
    lengths = [leaf.shape[0] for leaf in keras.tree.flatten(data)]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"All arrays of `{name}` must hold equally many examples. "
            f"Received: {', '.join(map(str, lengths))}"
        )
    if replicas > 1:
        check_divisible(batch_size, replicas, name)
        if lengths[0] < batch_size:
            shorter = "validation_batch_size" if name == "validation_data" else "batch_size"
            raise ValueError(
                f"With {replicas} replicas every batch of `{name}` must be full: pass a smaller "
                f"`{shorter}`. Received: {lengths[0]} examples and batch_size={batch_size}"
            )
    return array_batches(data, batch_size, shuffle, seed, drop_remainder)
