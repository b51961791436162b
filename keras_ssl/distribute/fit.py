"""Make `fit` of a Keras model build itself before its first step, on any strategy.

The only file of the package that touches private names of Keras:

- `_maybe_symbolic_build`, the hook that Keras calls in `fit`, `evaluate` and `train_on_batch`
  before any callback or step. Keras' own version skips building without a strategy.
- `TFEpochIterator._distributed_dataset`, whose `element_spec` tells the shapes of a batch without
  taking one from the user's pipeline.
- `keras.src.backend.compute_output_spec`, which runs a function on shapes alone. Its public face,
  `Operation.compute_output_spec`, puts a text of its own before every error.
- `Layer._clear_losses`: Keras forgets what a layer added to the losses when that layer is called
  again. A step that calls only some parts of a model would find what the others left behind.

`tests/distribute/test_fit.py` fails when one of them goes away.
"""

import warnings
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend import compute_output_spec


def run_on_shapes(function: Any, *specs: Any) -> Any:
    """Run a function on symbolic tensors: variables are created, nothing is computed.

    Args:
        function: function of as many arguments as there are `specs`.
        *specs: nested structures of `keras.KerasTensor` and `None`.

    Returns:
        What the function returns, with `keras.KerasTensor` for every tensor.
    """
    return compute_output_spec(function, *specs)


def forget_losses(model: keras.Model) -> None:
    """Forget what earlier calls of the model's layers added to its losses.

    Args:
        model: the model whose `losses` are to be those of the calls that follow.
    """
    model._clear_losses()


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
    """Decide whether XLA can compile the step under a strategy.

    Args:
        jit_compile: what the user passed to `compile`.
        strategy: the strategy that the model was created under, or `None`.

    Returns:
        `jit_compile`, or `False` (with a warning that says why) where XLA cannot work: several
        replicas in one process, each of which holds its own copy of every variable.
    """
    replicas = 1 if strategy is None else strategy.num_replicas_in_sync
    is_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    if jit_compile is True and replicas > 1 and not is_tpu:
        warnings.warn(
            f"`jit_compile=True` is not possible under {type(strategy).__name__} with {replicas} "
            "replicas: XLA cannot compile a step whose variables lie on several devices. The step "
            "runs without XLA; pass `jit_compile=False` to silence this.",
            stacklevel=3,
        )
        return False
    return jit_compile


class DistributedFit:
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

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Train, as `keras.Model.fit`; see there for the arguments.

        With several replicas every batch must be full, since replicas exchange what they computed
        of it: arrays are cut to whole batches, a `tf.data.Dataset` must come in whole batches.
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        _check_not_empty(x)
        if replicas > 1:
            if kwargs.get("validation_split"):
                raise ValueError(
                    f"`validation_split` is not possible with {replicas} replicas. Split the data "
                    "and pass `validation_data`. "
                    f"Received: validation_split={kwargs['validation_split']}"
                )
            shuffle = kwargs.get("shuffle", True)
            size = kwargs.get("validation_batch_size") or batch_size
            x, y, batch_size = _in_full_batches(x, y, batch_size, replicas, shuffle)
            validation = kwargs.get("validation_data")
            if validation is not None and not isinstance(validation, tf.data.Dataset):
                val_x, val_y, _ = keras.utils.unpack_x_y_sample_weight(validation)
                kwargs["validation_data"] = _in_full_batches(val_x, val_y, size, replicas)[0]
        if isinstance(x, tf.data.Dataset):
            kwargs["shuffle"] = False  # it would change nothing, and Keras warns of its default
        return super().fit(x, y, batch_size, **kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Evaluate, as `keras.Model.evaluate`; with several replicas arrays in full batches."""
        replicas = self.distribute_strategy.num_replicas_in_sync
        in_fit = kwargs.get("_use_cached_eval_dataset", False)
        if replicas > 1 and not in_fit and not isinstance(x, tf.data.Dataset):
            x, y, batch_size = _in_full_batches(x, y, batch_size, replicas)
        return super().evaluate(x, y, batch_size, **kwargs)


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _check_not_empty(x: Any) -> None:
    """Raise if the data is known to hold nothing."""
    if isinstance(x, tf.data.Dataset):
        empty = x.cardinality().numpy() == 0
    else:
        leaves = keras.tree.flatten(x)
        empty = (
            bool(leaves) and all(_is_array(leaf) for leaf in leaves) and 0 in leaves[0].shape[:1]
        )
    if empty:
        raise ValueError("`x` holds no data: expected at least one batch. Received an empty set.")


def _in_full_batches(
    x: Any, y: Any, batch_size: int | None, replicas: int, shuffle: bool = False
) -> tuple[Any, Any, int | None]:
    """Check a dataset for whole batches that divide by the replicas; make one of arrays."""
    if isinstance(x, tf.data.Dataset):
        sizes = {spec.shape[0] for spec in tf.nest.flatten(x.element_spec) if spec.shape.rank}
        for size in sizes:
            if size is None:
                raise ValueError(
                    f"With {replicas} replicas every batch of `x` must be full. Expected a dataset "
                    "with a static batch size: use `dataset.batch(n, drop_remainder=True)`. "
                    f"Received: element_spec={x.element_spec}"
                )
            _check_divisible(size, replicas)
        return x, y, batch_size
    leaves = keras.tree.flatten(x)
    if not leaves or not all(_is_array(leaf) for leaf in leaves):
        return x, y, batch_size  # PyDataset, generator: their batches are known when they come
    batch_size = batch_size or 32
    _check_divisible(batch_size, replicas)
    examples = leaves[0].shape[0]
    if examples < batch_size:
        raise ValueError(
            f"With {replicas} replicas every batch of `x` must be full. Received: {examples} "
            f"examples and batch_size={batch_size}"
        )
    x = tuple(x) if isinstance(x, list) else x  # tf.data would stack a list
    data = (x,) if y is None else (x, y)
    dataset = tf.data.Dataset.from_tensor_slices(data)
    if shuffle:
        dataset = dataset.shuffle(examples)
    return dataset.batch(batch_size, drop_remainder=True), None, None


def _check_divisible(size: int, replicas: int) -> None:
    if size % replicas:
        raise ValueError(
            f"The batch size must be divisible by the number of replicas, {replicas}. "
            f"Received: batch_size={size}"
        )
