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

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_ssl import checks
from keras_ssl.data._autotuning import without_autotuning
from keras_ssl.distribute.worker_batches import (
    check_divisible,
    distribute_batches,
    static_batch_size,
)
from keras_ssl.distribute.workers import agree, from_chief, is_chief, is_multi_worker, strategy_name
from keras_ssl.trainers.engine._hooks import (
    FitHooks,
    are_arrays,
    is_plain,
    pack,
    specs_of_elements,
)
from keras_ssl.trainers.engine.epochs import Epochs
from keras_ssl.trainers.engine.first_batch import look_at_first_batch
from keras_ssl.trainers.engine.foreign import check_distribution
from keras_ssl.trainers.engine.tensorflow._steps import (
    data_first,
    one_after_the_other,
    reduced_over_workers,
)
from keras_ssl.trainers.engine.tensorflow._worker_callbacks import callbacks_of_worker
from keras_ssl.trainers.engine.tensorflow.array_batches import array_batches


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


class DistributedFit(FitHooks):
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

    Args:
        *args: as of the Keras class.
        **kwargs: as of the Keras class.

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
        checks.training_backend()
        check_distribution()
        return super().__new__(cls, *args, **kwargs)

    def build_step(self, x: Any, y: Any) -> None:
        """Create all variables that a training step needs.

        Args:
            x: the input, a nested structure of `keras.KerasTensor`.
            y: the targets, likewise, or `None`.
        """
        if self._distribute_strategy is not None:  # without one, Keras builds in the first step
            self._symbolic_build(data_batch=(x, y, None))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None:
            data_batch = iterator._distributed_dataset.element_spec
        check_distribution()
        x, y, _ = keras.utils.unpack_x_y_sample_weight(specs_of_elements(data_batch))
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

    def _check_strategy(self) -> None:
        if self._distribute_strategy is None and tf.distribute.has_strategy():
            raise ValueError(
                "The model must be made under `with strategy.scope():`. Received: a model that was "
                f"made outside, and `fit` under {strategy_name(tf.distribute.get_strategy())}"
            )

    def _batches_of(
        self, x: Any, y: Any, batch_size: int | None, arguments: dict[str, Any]
    ) -> tuple[Any, Any, int | None]:
        strategy = self.distribute_strategy
        replicas = strategy.num_replicas_in_sync
        is_shared = replicas > 1 or is_multi_worker(strategy)
        if is_shared:
            self._check_shared(x, arguments)
        data = pack(x, y, arguments.get("sample_weight"))
        if not are_arrays(data) or not (
            is_shared or is_plain(data, y, batch_size, arguments, tf.Tensor)
        ):
            return x, y, batch_size
        shuffle, seed = arguments.get("shuffle", True), self._shuffle_seed(arguments)
        arguments.pop("sample_weight", None)
        batches = _in_full_batches(
            data, "x", batch_size, replicas, shuffle, seed, self.needs_full_batches
        )
        return batches, None, None

    def _check_shared(self, x: Any, arguments: dict[str, Any]) -> None:
        """Raise an error if several replicas cannot share the data; batch validation arrays."""
        replicas = self.distribute_strategy.num_replicas_in_sync
        if arguments.get("validation_split"):
            raise ValueError(
                f"`validation_split` is not possible with {replicas} replicas. Split the data "
                "and pass `validation_data`. "
                f"Received: validation_split={arguments['validation_split']}"
            )
        size, validation = arguments["validation_batch_size"], arguments.get("validation_data")
        arguments["validation_data"] = _in_full_batches(
            validation, "validation_data", size, replicas
        )
        if isinstance(x, tf.data.Dataset):
            _check_full_batches(x, "x", replicas)

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

    def _share_of_worker(self, x: Any, arguments: dict[str, Any]) -> Any:
        strategy = self.distribute_strategy
        if not is_multi_worker(strategy):
            return x
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

    @property
    def needs_full_batches(self) -> bool:
        """Whether `fit` drops the remainder of arrays after the last full batch."""
        strategy = self.distribute_strategy
        return strategy.num_replicas_in_sync > 1 or is_multi_worker(strategy)

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
            data = pack(x, y, kwargs.get("sample_weight"))
            if isinstance(x, tf.data.Dataset):
                _check_full_batches(x, "x", replicas)
            elif are_arrays(data):
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


def _append_row(x: tf.Tensor) -> tf.Tensor:
    row = tf.zeros(tf.concat([[1], tf.shape(x)[1:]], axis=0), x.dtype)
    return tf.concat([x, row], axis=0)


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
    if not are_arrays(data):
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
