"""What both engines share: the hooks of a trainer, and the order in which `fit` does its work."""

import inspect
import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.array_slicing import train_validation_split

from keras_ssl._tensorflow import is_dataset
from keras_ssl.data._autotuning import without_autotuning
from keras_ssl.distribute.workers import from_chief
from keras_ssl.trainers.engine.epochs import EpochKeeper, Epochs, find_keeper
from keras_ssl.trainers.engine.first_batch import peek


class FitHooks:
    """`fit` of both engines, and what engines call in a trainer, with defaults that do nothing."""

    _keeper: EpochKeeper | None = None
    _epochs: Epochs | None = None
    _pending_validation: Any = None
    _pending_look: Callable[[Any], None] | None = None

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Train, as `keras.Model.fit`, which documents the arguments.

        With several replicas all batches must be full, since replicas exchange tensors of the same
        size: a remainder of arrays is dropped, a `tf.data.Dataset` must have full batches.
        """
        self._check_strategy()
        check_not_empty(x)
        # `x` may become a dataset below, from which Keras would not infer the batch size
        kwargs["validation_batch_size"] = kwargs.get("validation_batch_size") or batch_size
        try:
            self._pending_look = self.look_at_batch(x)
            self._keeper = find_keeper(self, kwargs)
            x, y, batch_size = self._batches_of(x, y, batch_size, kwargs)
            if is_dataset(x):
                kwargs["shuffle"] = False  # has no effect, but Keras warns of the default
            validation = first = without_autotuning(kwargs.get("validation_data"))
            if inspect.isgenerator(validation):
                first, validation = peek(validation)
            kwargs["validation_data"] = validation
            self._pending_validation = specs_of(first)
            x = self._share_of_worker(without_autotuning(x), kwargs)
            history = super().fit(x, y, batch_size, **kwargs)
            if self._keeper is not None:
                self._keeper.finish(history)
            return history
        finally:
            if self._keeper is not None:
                self._keeper.close()
            self._keeper = self._epochs = self._pending_validation = self._pending_look = None

    def _check_strategy(self) -> None:
        """Raise an error if the model cannot train under the strategy of the caller."""

    def _batches_of(
        self, x: Any, y: Any, batch_size: int | None, arguments: dict[str, Any]
    ) -> tuple[Any, Any, int | None]:
        """Return `x`, `y` and the batch size for Keras, where arrays may have become batches.

        Changes `arguments`, the others of `fit` by name.
        """
        return x, y, batch_size

    def _share_of_worker(self, x: Any, arguments: dict[str, Any]) -> Any:
        """Return this worker's share of the data, and change `arguments` to what it does."""
        return x

    def _shuffle_seed(self, arguments: dict[str, Any]) -> int | None:
        """Return the seed of the order of arrays, that of the resumed run, or `None`."""
        if not arguments.get("shuffle", True):
            return None
        seed = from_chief(self.draw_shuffle_seed(), self.distribute_strategy)
        return seed if self._keeper is None else self._keeper.shuffle_seed(seed)

    def build_step(self, x: Any, y: Any) -> None:
        """Create all variables that a training step needs.

        Args:
            x: the input, a nested structure of `keras.KerasTensor`.
            y: the targets, likewise, or `None`.
        """

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
        data = pack(x, y, arguments.get("sample_weight"))
        replicas = self.distribute_strategy.num_replicas_in_sync
        if not split or replicas > 1 or not are_arrays(data):
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
        return False

    def draw_shuffle_seed(self) -> int:
        """Draw the seed by which `fit` shuffles arrays."""
        # from Python's generator, which `keras.utils.set_random_seed` seeds
        return random.randrange(2**31 - 1)


def specs_of(data: Any) -> tuple[Any, Any, Any] | None:
    """Return the shapes and dtypes of validation data, if known without reading from it."""
    if isinstance(data, keras.utils.PyDataset):
        data = data[0] if len(data) else None
    if hasattr(data, "element_spec"):
        specs = specs_of_elements(data.element_spec)
    else:
        specs = tuple(data) if isinstance(data, (tuple, list)) else (data,)
        if not are_arrays([leaf for leaf in keras.tree.flatten(specs) if leaf is not None]):
            return None
        specs = keras.tree.map_structure(spec_of_array, specs)
    return keras.utils.unpack_x_y_sample_weight(specs)


def specs_of_elements(structure: Any) -> Any:
    """Return the shapes and dtypes of one replica's share of the elements of a dataset.

    Args:
        structure: `element_spec` of the dataset. Tuples, lists and dictionaries are mapped; specs
            are leaves.
    """
    if isinstance(structure, dict):
        return {key: specs_of_elements(value) for key, value in structure.items()}
    if isinstance(structure, (tuple, list)):
        return tuple(specs_of_elements(value) for value in structure)
    return _local_spec(structure)


def _local_spec(spec: Any) -> keras.KerasTensor | None:
    """Return the shape and dtype of one replica's share of a dataset element."""
    import tensorflow as tf

    if isinstance(spec, (tf.OptionalSpec, tf.NoneTensorSpec)) or spec is None:
        return None
    if not hasattr(spec, "shape"):  # PerReplicaSpec: equal specs, one per replica
        return _local_spec(spec._value_specs[0])
    is_sparse = isinstance(spec, tf.SparseTensorSpec)
    return keras.KerasTensor(
        spec.shape,
        keras.backend.standardize_dtype(spec.dtype),
        sparse=is_sparse,
        ragged=isinstance(spec, tf.RaggedTensorSpec),
    )


def spec_of_array(array: Any) -> keras.KerasTensor | None:
    """Return the shape and dtype of an array, for batches of any size."""
    if array is None:
        return None
    dtype = keras.backend.standardize_dtype(array.dtype)
    if keras.backend.is_float_dtype(dtype):
        dtype = keras.config.floatx()  # as Keras casts arrays
    return keras.KerasTensor((None, *array.shape[1:]), dtype)


def are_arrays(data: Any) -> bool:
    """Return whether data is a structure of arrays or tensors."""
    leaves = keras.tree.flatten(data)
    return bool(leaves) and all(hasattr(x, "shape") and hasattr(x, "dtype") for x in leaves)


def pack(x: Any, y: Any, sample_weight: Any) -> tuple:
    """Return the arguments of `fit` as a tuple, the structure of a dataset's elements."""
    if sample_weight is not None:
        return (x, y, sample_weight)
    return (x,) if y is None else (x, y)


def is_plain(
    data: tuple, y: Any, batch_size: int | None, arguments: dict[str, Any], tensor: type
) -> bool:
    """Return whether an engine can batch arrays itself, without features of Keras' adapters.

    Args:
        data: the arrays, as `pack` returns them.
        y: the labels.
        batch_size: examples per batch, or `None`.
        arguments: the other arguments of `fit`.
        tensor: the class of the backend's dense tensors.
    """
    leaves = keras.tree.flatten(data)
    dense = all(
        isinstance(leaf, tensor) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufU")
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


def check_not_empty(x: Any) -> None:
    """Raise an error if the data is known to be empty."""
    if is_dataset(x):
        empty = x.cardinality().numpy() == 0
    else:
        empty = are_arrays(x) and 0 in keras.tree.flatten(x)[0].shape[:1]
    if empty:
        raise ValueError("`x` holds no data: expected at least one batch. Received: an empty set")
