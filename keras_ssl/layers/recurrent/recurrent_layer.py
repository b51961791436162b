"""A layer that runs a recurrent cell over sequences, faster than Keras' own."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl._keras_internals import run_by_cudnn, run_over_time


@keras.saving.register_keras_serializable(package="keras_ssl")
class RecurrentLayer(keras.layers.RNN):
    """Recurrent layer of any cell: `keras.layers.RNN`, with the inputs projected all at once.

    What the inputs add to the gates does not depend on the state. For the cells of
    `keras_ssl.layers` it is computed by one product for all time steps before the loop, in which
    the product with the state is left. On a GPU, an `LSTMCell` and a `GRUCell` that cuDNN can run
    are run by it, if `use_cudnn`. Other cells, such as Keras' own or several in a list, run as in
    `keras.layers.RNN`. The numbers are the same either way.

    Time steps that a mask hides leave the states as they are, and repeat the output of the step
    before. A sequence whose steps are all hidden ends with the states that it began with, and its
    output is 0; on the JAX backend it is the first state, which is 0 unless one is given or
    learned.

    With `stateful=True`, the states at the end of a batch are those that the next one begins with,
    without gradients between them. Inputs are dropped with the same mask at all time steps by
    `keras.layers.Dropout(rate, noise_shape=(None, 1, None))` in front.

    Args:
        cell: the cell, or a list of cells.
        return_sequences: whether to return the outputs of all time steps, not the last alone.
        return_state: whether to return the states at the end after the output.
        go_backwards: whether to run from the last time step to the first. Outputs come in the order
            in which they are computed, as in Keras.
        stateful: whether the states go over into the next batch. See `reset_state`.
        truncate: number of time steps after which gradients do not flow further back through the
            states (truncated back-propagation through time); `None` for all.
        unroll: whether to write out the loop.
        zero_output_for_mask: whether hidden time steps have outputs of 0.
        use_cudnn: whether cuDNN may be used. It takes no masks but those of padding behind, and
            TensorFlow raises an error in a compiled function that gets another: pass `False` for
            such masks.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        sequences: the sequences.
        initial_state: list of the states to begin with; `None` for those of the cell.
        mask: booleans `(batch, time)`, `False` for time steps to leave out.

    Input shape:
        `(batch, time, features)`.

    Output shape:
        `(batch, units)`, or `(batch, time, units)` with `return_sequences=True`; with
        `return_state=True`, each state `(batch, units)` after it.

    Raises:
        TypeError: if `truncate` is not an integer.
        ValueError: if `truncate` is below 1, states have the wrong shape, or states that are
            learned shall go over into the next batch.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import layers
    >>> model = keras.Sequential(
    ...     [
    ...         keras.layers.Embedding(100, 16, mask_zero=True),
    ...         layers.RecurrentLayer(layers.LSTMCell(32), return_sequences=True),
    ...         layers.RecurrentLayer(layers.GRUCell(32)),
    ...         keras.layers.Dense(2),
    ...     ]
    ... )
    >>> model(np.array([[5, 3, 0, 0], [7, 8, 9, 1]])).shape
    TensorShape([2, 2])

    Reference:
        - Williams & Peng, An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent
          Network Trajectories, Neural Computation 2, 1990, for truncation
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        truncate: int | None = None,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        use_cudnn: bool = True,
        **kwargs: Any,
    ):
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
            **kwargs,
        )
        self.truncate = checks.integer("truncate", truncate, minimum=1, optional=True)
        self.use_cudnn = bool(use_cudnn)
        if stateful and getattr(cell, "learn_initial_state", False):
            raise ValueError(
                "With `stateful=True` the first state is that of the batch before, so that it "
                "cannot be learned. Received: stateful=True and a cell with "
                "learn_initial_state=True"
            )

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        if initial_state is not None:
            self._check_states(initial_state, sequences)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def _check_states(self, states: Any, sequences: Any) -> None:
        found = states if isinstance(states, (list, tuple)) else [states]
        if not all(isinstance(size, int) for size in self.state_size):
            return  # of cells in cells, which Keras checks
        sizes = [tuple(one.shape)[1:] for one in found]
        batches = {one.shape[0] for one in (sequences, *found)} - {None}
        if sizes != [(size,) for size in self.state_size] or len(batches) > 1:
            raise ValueError(
                f"`initial_state` must be states of shape (batch, size), with sizes "
                f"{self.state_size} and the batch of the sequences. Received: shapes "
                f"{[tuple(one.shape) for one in found]}, sequences of shape "
                f"{tuple(sequences.shape)}"
            )

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple:
        if self._is_projected():
            found = self._by_cudnn(sequences, initial_state, mask)
            if found is not None:
                return found
            return self._run(self._advance, sequences, initial_state, mask)
        if self.truncate is None:
            return super().inner_loop(sequences, initial_state, mask, training=training)
        takes_training = getattr(self.cell, "_call_has_training_arg", False)
        options = {"training": training} if takes_training else {}

        def step(inputs: Any, states: Any) -> tuple:
            return self.cell(inputs, states, **options)

        return self._run(step, sequences, initial_state, mask)

    def _is_projected(self) -> bool:
        return hasattr(self.cell, "project") and hasattr(self.cell, "advance")

    def _advance(self, projected: Any, states: Any) -> tuple:
        states, _ = self.cell.advance(projected, list(states))
        return states[0], states

    def _by_cudnn(self, sequences: Any, states: Any, mask: Any) -> tuple | None:
        kernel = getattr(self.cell, "cudnn_kernel", None)
        if kernel is None or self.truncate is not None or not self.use_cudnn:
            return None
        cell, visible = self.cell, mask
        if mask is not None:
            # a sequence without a step is refused: it gets its first one, which is taken out again
            mask = ops.cast(mask, "bool")
            is_first = ops.arange(ops.shape(mask)[1]) == 0
            is_empty = ops.logical_not(ops.any(mask, axis=1, keepdims=True))
            visible = ops.logical_or(mask, ops.logical_and(is_empty, is_first[None]))
        options = {"reset_after": True} if kernel == "gru" else {}
        found = run_by_cudnn(
            kernel,
            sequences,
            *(states if kernel == "lstm" else states[:1]),
            visible,
            kernel=cell.kernel,
            recurrent_kernel=cell.recurrent_kernel,
            bias=cell.bias,
            activation=cell.activation,
            recurrent_activation=cell.recurrent_activation,
            return_sequences=self.return_sequences,
            go_backwards=self.go_backwards,
            unroll=self.unroll,
            **options,
        )
        if found is None:
            return None
        if keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # XLA has no kernel of cuDNN
        last, outputs, after = found
        if mask is not None:
            last = ops.where(is_empty, 0.0, last)
            after = [ops.where(is_empty, *both) for both in zip(states, after, strict=True)]
            if self.return_sequences:
                # hidden steps are 0, also those behind the last one, which is to be repeated
                repeats = not (self.go_backwards or self.zero_output_for_mask)
                hidden = last[:, None] if repeats else 0.0
                is_visible = ops.flip(mask, axis=1) if self.go_backwards else mask
                outputs = ops.where(is_visible[..., None], outputs, hidden)
            else:
                outputs = last[:, None]
        return last, outputs, after

    def _run(
        self, step: Any, sequences: Any, states: list[Any], mask: Any, all_outputs: bool = False
    ) -> tuple:
        # time comes first: sequences are turned before they are projected, when they are smaller
        sequences = ops.swapaxes(sequences, 0, 1)
        steps = sequences.shape[0]
        if self._is_projected():
            sequences = self.cell.project(sequences)
        if self.truncate is not None:
            step, sequences = self._truncated(step), [sequences, self._boundaries(sequences)]
        last, outputs, states = run_over_time(
            step,
            sequences,
            states,
            mask=None if mask is None else ops.swapaxes(mask, 0, 1),
            go_backwards=self.go_backwards,
            unroll=self.unroll,
            input_length=steps,
            time_major=True,
            zero_output_for_mask=self.zero_output_for_mask,
            return_all_outputs=self.return_sequences or all_outputs,
        )
        return last, ops.swapaxes(outputs, 0, 1), states

    def _boundaries(self, sequences: Any) -> Any:
        """Return where no gradient goes further back, as booleans `(time, batch, 1)`."""
        time, batch = ops.shape(sequences)[:2]
        steps = ops.arange(time)
        if self.go_backwards:
            steps = time - 1 - steps
        found = ops.logical_and(steps > 0, ops.equal(steps % self.truncate, 0))
        return ops.broadcast_to(found[:, None, None], (time, batch, 1))

    def _truncated(self, step: Any) -> Any:
        def truncated(inputs: Any, states: Any) -> tuple:
            inputs, is_boundary = inputs
            return step(
                inputs, [ops.where(is_boundary, ops.stop_gradient(one), one) for one in states]
            )

        return truncated

    def gates(self, sequences: Any, initial_state: Any = None, mask: Any = None) -> dict[str, Any]:
        """Return the gates at all time steps, to look at.

        Args:
            sequences: `(batch, time, features)`.
            initial_state: list of the states to begin with; `None` for those of the cell.
            mask: booleans `(batch, time)`; hidden time steps repeat the gates of the step before.

        Returns:
            Dictionary of tensors `(batch, time, units)`, in the order of the time steps also if the
            layer goes backwards.

        Raises:
            TypeError: if the cell has no gates to look at.
        """
        if not self._is_projected():
            raise TypeError(
                "`cell` must be a cell of `keras_ssl.layers`, which tell their gates. Received: "
                f"cell={self.cell!r} of type {type(self.cell)}"
            )
        sequences = ops.convert_to_tensor(sequences, self.compute_dtype)
        if not self.built:
            self.build(tuple(sequences.shape))
        if initial_state is None:
            initial_state = self.get_initial_state(ops.shape(sequences)[0])
        self._check_states(initial_state, sequences)
        names: list[str] = []

        def step(projected: Any, states: Any) -> tuple:
            states, gates = self.cell.advance(projected, list(states))
            names[:] = gates
            return ops.concatenate(list(gates.values()), axis=-1), states

        _, outputs, _ = self._run(step, sequences, initial_state, mask, all_outputs=True)
        if self.go_backwards:
            outputs = ops.flip(outputs, axis=1)
        return dict(zip(names, ops.split(outputs, len(names), axis=-1), strict=True))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "truncate": self.truncate,
            "use_cudnn": self.use_cudnn,
        }
