"""Make `fit` of a Keras model build itself before its first step, on any strategy.

Private names of Keras that this file touches (`epochs.py` and `random_states.py` list theirs):

- `_maybe_symbolic_build`, the hook that Keras calls in `fit`, `evaluate` and `train_on_batch`
  before any callback or step. Keras' own version skips building without a strategy.
- `TFEpochIterator._distributed_dataset`, whose `element_spec` tells the shapes of a batch without
  taking one from the user's pipeline.

`tests/distribute/test_fit.py` fails when one of them goes away.
"""

import random
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ssl.distribute.array_batches import array_batches
from keras_ssl.distribute.epochs import ResumableFit


def _local_spec(spec: Any) -> keras.KerasTensor | None:
    """The shape and dtype that one replica sees of a dataset's element."""
    if isinstance(spec, (tf.OptionalSpec, tf.NoneTensorSpec)) or spec is None:
        return None
    if not hasattr(spec, "shape"):  # PerReplicaSpec: one spec a replica, all alike
        return _local_spec(spec._value_specs[0])
    return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))


def _map_specs(structure: Any) -> Any:
    """Map `_local_spec` over tuples, lists and dictionaries; specs are leaves."""
    if isinstance(structure, dict):
        return {key: _map_specs(value) for key, value in structure.items()}
    if isinstance(structure, (tuple, list)):
        return tuple(_map_specs(value) for value in structure)
    return _local_spec(structure)


def resolve_jit_compile(jit_compile: bool | str, strategy: tf.distribute.Strategy | None) -> Any:
    """Decide whether Keras should have XLA compile the step under a strategy.

    Args:
        jit_compile: what the user passed to `compile`.
        strategy: the strategy that the model was created under, or `None`.

    Returns:
        `jit_compile`, but `False` for `True` in two cases. With several replicas XLA cannot work,
        which a warning says: in one process each holds its own copy of every variable, on a
        device of its own; between processes TensorFlow cannot trace `all_gather` for XLA, and on
        CPUs XLA has no exchange at all. On a TPU, `strategy.run` compiles the step by itself, and
        Keras' request would be for the host's part, which starts it.
    """
    if jit_compile is not True or strategy is None:
        return jit_compile
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return False
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return True
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        reason = "TensorFlow cannot exchange tensors between workers in a step that XLA compiles"
    else:
        reason = "XLA cannot compile a step whose variables lie on several devices"
    warnings.warn(
        f"`jit_compile=True` is not possible under {type(strategy).__name__} with {replicas} "
        f"replicas: {reason}. The step runs without XLA; pass `jit_compile=False` to silence this.",
        stacklevel=3,
    )
    return False


class DistributedFit(ResumableFit):
    """Mix-in for a `keras.Model`: `build_step` is called before the first step, on any strategy.

    The model that mixes it in defines `build_step(x, y)`, which gets the shapes of a batch as
    `keras.KerasTensor`s, creates all variables that a training step needs, and raises on input
    that it cannot train on.
    """

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None:
            data_batch = iterator._distributed_dataset.element_spec
        x, y, _ = keras.utils.unpack_x_y_sample_weight(_map_specs(data_batch))
        with self.distribute_strategy.scope():
            self.build_step(x, y)
        if iterator is not None:
            self.attach_keeper(iterator, (x, y))

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Train, as `keras.Model.fit`; see there for the arguments.

        With several replicas every batch must be full, since replicas exchange what they computed
        of it: arrays are cut to whole batches, a `tf.data.Dataset` must come in whole batches.
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        _check_not_empty(x)
        keeper = self.find_keeper(kwargs)
        if replicas > 1:
            if kwargs.get("validation_split"):
                raise ValueError(
                    f"`validation_split` is not possible with {replicas} replicas. Split the data "
                    "and pass `validation_data`. "
                    f"Received: validation_split={kwargs['validation_split']}"
                )
            size = kwargs.get("validation_batch_size") or batch_size
            validation = kwargs.get("validation_data")
            if validation is not None and not isinstance(validation, tf.data.Dataset):
                kwargs["validation_data"] = _in_full_batches(validation, size, replicas)
            if isinstance(x, tf.data.Dataset):
                _check_full_batches(x, replicas)
        data = _pack(x, y, kwargs.get("sample_weight"))
        if _are_arrays(data) and (replicas > 1 or _is_plain(data, y, batch_size, kwargs)):
            shuffle = kwargs.get("shuffle", True)
            seed = self.draw_shuffle_seed() if shuffle else None
            if seed is not None and keeper is not None:
                seed = keeper.shuffle_seed(seed)  # an interrupted run goes on in its own order
            x = _in_full_batches(data, batch_size, replicas, shuffle, seed, self.needs_full_batches)
            y = batch_size = None
            kwargs.pop("sample_weight", None)
        if isinstance(x, tf.data.Dataset):
            kwargs["shuffle"] = False  # it would change nothing, and Keras warns of its default
        return super().fit(x, y, batch_size, keeper=keeper, **kwargs)

    @property
    def needs_full_batches(self) -> bool:
        """Whether `fit` leaves out what remains of arrays after the last full batch."""
        return self.distribute_strategy.num_replicas_in_sync > 1

    def draw_shuffle_seed(self) -> int:
        """Draw the seed of the order in which `fit` goes through arrays.

        From Python's generator, so that `keras.utils.set_random_seed` fixes it.
        """
        return random.randrange(2**31 - 1)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Evaluate, as `keras.Model.evaluate`; with several replicas arrays in full batches."""
        replicas = self.distribute_strategy.num_replicas_in_sync
        in_fit = kwargs.get("_use_cached_eval_dataset", False)
        if replicas > 1 and not in_fit:
            data = _pack(x, y, kwargs.get("sample_weight"))
            if isinstance(x, tf.data.Dataset):
                _check_full_batches(x, replicas)
            elif _are_arrays(data):
                x, y, batch_size = _in_full_batches(data, batch_size, replicas), None, None
                kwargs.pop("sample_weight", None)
        return super().evaluate(x, y, batch_size, **kwargs)

    def predict_step(self, data: Any) -> Any:
        """Compute the output for a batch, as `keras.Model.predict_step`.

        A last batch may hold fewer examples than there are replicas. Then some get none, which
        layers such as convolutions do not take: each replica computes one row more and drops it.
        """
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        examples = keras.tree.flatten(x)[0].shape[0]  # `None` where it changes
        if examples or self.distribute_strategy.num_replicas_in_sync == 1:
            return super().predict_step(data)
        outputs = super().predict_step((keras.tree.map_structure(_with_a_row_more, x),))
        return keras.tree.map_structure(lambda output: output[:-1], outputs)


def _with_a_row_more(x: tf.Tensor) -> tf.Tensor:
    row = tf.zeros(tf.concat([[1], tf.shape(x)[1:]], axis=0), x.dtype)
    return tf.concat([x, row], axis=0)


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _are_arrays(data: Any) -> bool:
    leaves = keras.tree.flatten(data)
    return bool(leaves) and all(_is_array(leaf) for leaf in leaves)


def _pack(x: Any, y: Any, sample_weight: Any) -> tuple:
    """The elements of a dataset, from what `fit` got; a list of inputs stays one input."""
    if sample_weight is not None:
        return (x, y, sample_weight)
    return (x,) if y is None else (x, y)


def _is_plain(data: tuple, y: Any, batch_size: int | None, arguments: dict[str, Any]) -> bool:
    """Whether arrays need nothing that only Keras' own way of making batches of them has."""
    leaves = keras.tree.flatten(data)
    dense = all(
        isinstance(leaf, tf.Tensor) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufU")
        for leaf in leaves
    )
    return (
        dense
        # Keras names arrays that do not match, and spreads one weight over several targets
        and len({tuple(leaf.shape[:1]) for leaf in leaves}) == 1
        and all(len(leaf.shape) for leaf in leaves)
        and (len(data) < 3 or not keras.tree.is_nested(y))
        and not (len(data) == 3 and arguments.get("class_weight") is not None)
        and not arguments.get("validation_split")
        and arguments.get("shuffle") != "batch"
        and (batch_size is not None or arguments.get("steps_per_epoch") is None)
    )


def _check_not_empty(x: Any) -> None:
    """Raise if the data is known to hold nothing."""
    if isinstance(x, tf.data.Dataset):
        empty = x.cardinality().numpy() == 0
    else:
        empty = _are_arrays(x) and 0 in keras.tree.flatten(x)[0].shape[:1]
    if empty:
        raise ValueError("`x` holds no data: expected at least one batch. Received an empty set.")


def _check_full_batches(dataset: tf.data.Dataset, replicas: int) -> None:
    """Raise unless every batch of a dataset is full and divides by the replicas."""
    sizes = {spec.shape[0] for spec in tf.nest.flatten(dataset.element_spec) if spec.shape.rank}
    for size in sizes:
        if size is None:
            raise ValueError(
                f"With {replicas} replicas every batch of `x` must be full. Expected a dataset "
                "with a static batch size: use `dataset.batch(n, drop_remainder=True)`. "
                f"Received: element_spec={dataset.element_spec}"
            )
        _check_divisible(size, replicas)


def _in_full_batches(
    data: Any,
    batch_size: int | None,
    replicas: int,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = True,
) -> Any:
    """Make batches of arrays that divide by the replicas; other data comes back as it is."""
    if not _are_arrays(data):
        return data  # PyDataset, generator: their batches are known when they come
    batch_size = batch_size or 32
    if replicas > 1:
        _check_divisible(batch_size, replicas)
        examples = keras.tree.flatten(data)[0].shape[0]
        if examples < batch_size:
            raise ValueError(
                f"With {replicas} replicas every batch of `x` must be full. Received: {examples} "
                f"examples and batch_size={batch_size}"
            )
    return array_batches(data, batch_size, shuffle, seed, drop_remainder)


def _check_divisible(size: int, replicas: int) -> None:
    if size % replicas:
        raise ValueError(
            f"The batch size must be divisible by the number of replicas, {replicas}. "
            f"Received: batch_size={size}"
        )
