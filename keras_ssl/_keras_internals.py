"""The private names of Keras that the package uses, in one place.

- `keras.src.backend.compute_output_spec` runs a function on shapes alone. Its public face,
  `Operation.compute_output_spec`, puts a text of its own before every error.
- `Layer._clear_losses`: Keras forgets what a layer added to the losses when that layer is called
  again. A step that calls only some parts of a model would find what the others left behind.
- `keras.src.random.seed_generator.global_seed_generator`, which `keras.random` draws from where it
  gets no seed: it belongs to no model.
- `Layer._flatten_layers`: `Model.layers` lists what lies in a model, not what lies in its layers.
- `keras.src.backend.get_keras_mask` returns the mask that a layer set on a tensor, and
  `set_keras_mask` sets one: Keras takes the mean of a loss over the values that its mask leaves.
- `Model._loss_tracker`, and `DotNotTrackScope` to replace it: Keras weighs the losses of batches by
  the rows of the first input, which are nodes where the labels are of graphs.
- `Layer._convert_input_args`: Keras casts all floating-point inputs to a layer's compute dtype. In
  half precision, small edge weights would become 0, which is no edge.
- `AutocastScope`: while a layer is called, variables read as its compute dtype and not as stored.
- `Layer._tracker`: Keras locks a built layer, and its own `enable_lora` unlocks it for new weights.
- `keras.src.backend.rnn` is the loop over time of `keras.layers.RNN`, with masks, for any function;
  `lstm` and `gru` beside it call cuDNN, or say that they cannot.
- `keras.src.backend.common.stateless_scope.get_stateless_scope`: the scope, if any, in which
  variables have other values than their own.
- `Optimizer._apply_weight_decay`: whether an optimizer decays weights as Keras does, or in
  a way of its own.

`tests/test_keras_internals.py` fails when one of them goes away. The hooks of
`fit` are in `fit.py` and `epochs.py`; `_copying.py` reads what layers and graphs are made of.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras.src import backend
from keras.src.backend import (
    AutocastScope,
    compute_output_spec,
    get_keras_mask,
    set_keras_mask,
)
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.random.seed_generator import global_seed_generator
from keras.src.utils.tracking import DotNotTrackScope

_UNKNOWN = 64  # stands for sizes that are not known


def run_on_shapes(function: Any, *specs: Any) -> Any:
    """Run a function on symbolic tensors: variables are created, nothing is computed.

    Args:
        function: function of as many arguments as there are `specs`.
        *specs: nested structures of `keras.KerasTensor` and `None`.

    Returns:
        What the function returns, with `keras.KerasTensor` for every tensor.
    """
    if keras.backend.backend() == "jax":
        specs = keras.tree.map_structure(_of_known_size, specs)
    return compute_output_spec(function, *specs)


def _of_known_size(spec: Any) -> Any:
    """Return a spec with a size in place of each unknown one, which JAX cannot compare."""
    if spec is None:
        return None
    shape = [_UNKNOWN if size is None else size for size in spec.shape]
    return keras.KerasTensor(shape, spec.dtype, sparse=spec.sparse)


def stateless_scope() -> keras.StatelessScope | None:
    """Return the `keras.StatelessScope` that is open, or `None`."""
    return get_stateless_scope()


def forget_losses(model: keras.Model) -> None:
    """Forget what earlier calls of the model's layers added to its losses.

    Args:
        model: the model whose `losses` are to be those of the calls that follow.
    """
    model._clear_losses()


def all_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return a layer and all layers within it, at any depth.

    Args:
        layer: a layer or model.

    Returns:
        The layers in an order that is the same for two of one architecture.
    """
    return list(layer._flatten_layers())


def global_seed_state() -> keras.Variable:
    """Return the state of the generator that `keras.random` draws from where it gets no seed."""
    return global_seed_generator().state


def mask_of(x: Any) -> Any:
    """Return the mask of a tensor that a layer returned, or `None` if it has none."""
    return get_keras_mask(x)


def set_mask(x: Any, mask: Any) -> None:
    """Set the mask of a tensor, such as the values of a loss: boolean, true for what counts."""
    set_keras_mask(x, mask)


def stored_values(variables: list[keras.Variable]) -> list[Any]:
    """Return the values of variables in their own dtypes, also while a layer is called.

    Args:
        variables: variables of a layer.
    """
    with AutocastScope(None):
        return [one.value for one in variables]


class _MeanOverBatches(keras.metrics.Mean):
    """The mean of the losses of batches, each weighed by the rows that were set last."""

    rows = None

    def update_state(self, values: Any, sample_weight: Any = None) -> Any:
        return super().update_state(values, sample_weight if self.rows is None else self.rows)


def weigh_losses_by_rows(model: keras.Model) -> None:
    """Let `set_rows` say how much each batch counts in the loss of an epoch; after `compile`.

    Args:
        model: a compiled model.
    """
    with DotNotTrackScope():  # Keras lists this metric by itself
        model._loss_tracker = _MeanOverBatches(name="loss")


def set_rows(model: keras.Model, rows: Any) -> None:
    """Set how much the batch whose loss is being computed counts in the loss of the epoch.

    Args:
        model: a model of `weigh_losses_by_rows`.
        rows: number, or `None` for the rows of the first input. The step reads it before the next
            one, in the same trace.
    """
    if isinstance(model._loss_tracker, _MeanOverBatches):
        model._loss_tracker.rows = rows


def keep_input_dtypes(layer: keras.layers.Layer) -> None:
    """Let a layer's inputs be as they are: it gets tensors, and casts them itself."""
    layer._convert_input_args = False


@contextlib.contextmanager
def unlocked(layer: keras.layers.Layer) -> Iterator[None]:
    """Allow new weights in a built layer while the context is open.

    Args:
        layer: a built layer.
    """
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


def decays_weights_as_keras(optimizer: keras.optimizers.Optimizer) -> bool:
    """Return whether an optimizer has Keras' decoupled weight decay, and no rule of its own."""
    own = type(optimizer)._apply_weight_decay
    return own is keras.optimizers.Optimizer._apply_weight_decay


def run_over_time(step: Any, sequences: Any, states: list[Any], **options: Any) -> tuple:
    """Run a function over the time steps of sequences, as `keras.layers.RNN` does.

    Args:
        step: function of the inputs of a time step and the list of states that returns an output
            and the new states.
        sequences: structure of tensors `(batch, time, ...)`, or with time first, see `time_major`.
        states: list of tensors.
        **options: `mask`, `go_backwards`, `unroll`, `input_length`, `time_major`,
            `zero_output_for_mask`, `return_all_outputs`.

    Returns:
        The last output, all outputs, or the last alone, and the list of states at the end.
    """
    return backend.rnn(step, sequences, states, **options)


def run_by_cudnn(function: str, *arguments: Any, **options: Any) -> tuple | None:
    """Run an LSTM or a GRU by cuDNN, where this backend, this device and the arguments allow it.

    Args:
        function: `"lstm"` or `"gru"`.
        *arguments: sequences, each of the states, and the mask or `None`.
        **options: weights, activations and what else the backend's function takes.

    Returns:
        As `run_over_time`, or `None` where cuDNN cannot be used.
    """
    try:
        return getattr(backend, function)(*arguments, **options)
    except NotImplementedError:
        return None
