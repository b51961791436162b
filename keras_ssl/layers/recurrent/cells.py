"""Recurrent cells, whose gates can be looked at."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks

_PARTS = ("kernel", "recurrent", "bias")


class _RecurrentCell(keras.layers.Layer):
    """What the cells share: weights, states, and a step in two halves.

    `project` is the half of a step that needs no state, a product of the inputs with `kernel`.
    `layers.RecurrentLayer` calls it once for all time steps. `advance` does the rest.

    Args:
        units: size of the output and of each state.
        activation: activation of what is written.
        recurrent_activation: activation of the gates; `None` for a cell without gates.
        use_bias: whether there are biases.
        kernel_initializer: initializer of the weights of inputs.
        recurrent_initializer: initializer of the weights of the state.
        bias_initializer: initializer of the biases.
        kernel_regularizer: regularizer of the weights of inputs, or `None`.
        recurrent_regularizer: regularizer of the weights of the state, or `None`.
        bias_regularizer: regularizer of the biases, or `None`.
        kernel_constraint: constraint of the weights of inputs, or `None`.
        recurrent_constraint: constraint of the weights of the state, or `None`.
        bias_constraint: constraint of the biases, or `None`.
        learn_initial_state: whether the state before the first step is learned. It is 0 otherwise.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.
    """

    # parts of the weights side by side, one for each gate and for what is written
    parts = 1
    state_count = 1
    # by which of Keras' kernels for cuDNN the cell can be run
    cudnn_kernel: str | None = None

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        learn_initial_state: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = checks.integer("units", units, minimum=1)
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = None
        if recurrent_activation is not None:
            self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.learn_initial_state = learn_initial_state
        self.output_size = self.units
        self.state_size = self.units if self.state_count == 1 else [self.units] * self.state_count

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(
                "`inputs` of a cell must be one time step, of shape (batch, features). Received: "
                f"shape {tuple(input_shape)}. For sequences, use `layers.RecurrentLayer(cell)`"
            )
        width = self.units * self.parts
        self.kernel = self._add("kernel", "kernel", (input_shape[-1], width))
        self.recurrent_kernel = self._add("recurrent", "recurrent_kernel", (self.units, width))
        self.bias = self._add("bias", "bias", self._bias_shape(width)) if self.use_bias else None
        self.initial_states = []
        if self.learn_initial_state:
            self.initial_states = [
                self.add_weight(name=f"initial_state_{n}", shape=(self.units,), initializer="zeros")
                for n in range(self.state_count)
            ]

    def _add(self, part: str, name: str, shape: tuple) -> keras.Variable:
        initializer = getattr(self, f"{part}_initializer")
        if part == "bias":
            initializer = self._bias_start(initializer)
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            regularizer=getattr(self, f"{part}_regularizer"),
            constraint=getattr(self, f"{part}_constraint"),
        )

    def _bias_shape(self, width: int) -> tuple:
        return (width,)

    def _bias_start(self, initializer: Any) -> Any:
        """Return the initializer of the bias."""
        return initializer

    def project(self, inputs: Any) -> Any:
        """Return what inputs add to the gates: no state is needed.

        Args:
            inputs: `(batch, features)` or `(batch, time, features)`.

        Returns:
            A tensor of the same rank.
        """
        projected = ops.matmul(inputs, ops.cast(self.kernel, self.compute_dtype))
        bias = self._input_bias()
        return projected if bias is None else projected + bias

    def _input_bias(self) -> Any:
        return None if self.bias is None else ops.cast(self.bias, self.compute_dtype)

    def advance(self, projected: Any, states: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Do the half of a step that needs the state.

        Args:
            projected: what `project` returned of one time step.
            states: list of the states, each `(batch, units)`.

        Returns:
            The list of new states, the first of which is the output; and the gates by name.
        """
        raise NotImplementedError

    def gates(self, inputs: Any, states: Any = None) -> dict[str, Any]:
        """Return the gates of one step, to look at. `RecurrentLayer.gates` has them of sequences.

        Args:
            inputs: `(batch, features)`.
            states: list of the states, each `(batch, units)`; `None` for those at the start.

        Returns:
            Dictionary of tensors `(batch, units)`: the gates, and the candidate, which is what is
            written as far as the gates let it.
        """
        inputs = ops.convert_to_tensor(inputs, self.compute_dtype)
        if not self.built:
            self.build(inputs.shape)
        if states is None:
            states = self.get_initial_state(inputs.shape[0])
        return self.advance(self.project(inputs), _as_list(states))[1]

    def call(self, inputs: Any, states: Any) -> tuple[Any, Any]:
        new, _ = self.advance(self.project(inputs), _as_list(states))
        return new[0], new if isinstance(states, (list, tuple)) else new[0]

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """Return the states before the first step.

        Args:
            batch_size: number of sequences.

        Returns:
            A list of tensors `(batch_size, units)`.
        """
        shape = (batch_size, self.units)
        if not self.learn_initial_state:
            return [ops.zeros(shape, self.compute_dtype) for _ in range(self.state_count)]
        return [
            ops.broadcast_to(ops.cast(one, self.compute_dtype), shape)
            for one in self.initial_states
        ]

    def _recur(self, h: Any) -> Any:
        return ops.matmul(h, ops.cast(self.recurrent_kernel, self.compute_dtype))

    def _split(self, x: Any) -> list[Any]:
        return ops.split(x, self.parts, axis=-1)

    def get_config(self) -> dict:
        config = {"units": self.units, "use_bias": self.use_bias}
        config["activation"] = keras.activations.serialize(self.activation)
        if self.recurrent_activation is not None:
            config["recurrent_activation"] = keras.activations.serialize(self.recurrent_activation)
        for part in _PARTS:
            for kind in ("initializer", "regularizer", "constraint"):
                value = getattr(self, f"{part}_{kind}")
                serialize = getattr(keras, f"{kind}s").serialize
                config[f"{part}_{kind}"] = None if value is None else serialize(value)
        return {**super().get_config(), **config, "learn_initial_state": self.learn_initial_state}


def make_cell(kind: str, units: int, seed: int | None = None, **kwargs: Any) -> _RecurrentCell:
    """Return a cell by its name in `CELLS`.

    Args:
        kind: the name.
        units: size of the output and of each state.
        seed: integer seed of the initial weights, or `None`.
        **kwargs: other arguments of the cell.
    """
    if seed is not None:
        kwargs["kernel_initializer"] = keras.initializers.GlorotUniform(seed)
        kwargs["recurrent_initializer"] = keras.initializers.Orthogonal(seed=seed + 1)
    return CELLS[kind](units, **kwargs)


def _as_list(states: Any) -> list[Any]:
    return list(states) if isinstance(states, (list, tuple)) else [states]


@keras.saving.register_keras_serializable(package="keras_ssl")
class RNNCell(_RecurrentCell):
    """Elman's recurrent cell: h' = activation(x W + h U + b).

    It computes what `keras.layers.SimpleRNNCell` computes, and has the same weights. Besides, its
    first state can be learned, and `layers.RecurrentLayer` runs it faster.

    Args:
        units: size of the output and of the state.
        activation: activation of the output.
        **kwargs: `use_bias` (default `True`), `learn_initial_state` (default `False`: the state
            before the first step is 0); `kernel_initializer`, `recurrent_initializer` and
            `bias_initializer`, and the regularizers and constraints of the same names, as those of
            Keras' cell; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: one time step.
        states: list of the state, `(batch, units)`.

    Input shape:
        `(batch, features)`.

    Output shape:
        `(batch, units)`, and the list of the new state.

    Raises:
        ValueError: if `units` is below 1, or the input does not have rank 2.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layer = layers.RecurrentLayer(layers.RNNCell(8), return_sequences=True)
    >>> layer(np.ones((2, 5, 3), "float32")).shape
    TensorShape([2, 5, 8])

    Reference:
        - Elman, Finding Structure in Time, Cognitive Science 14, 1990
    """

    def __init__(self, units: int, activation: Any = "tanh", **kwargs: Any):
        super().__init__(units, activation, **kwargs)

    def advance(self, projected: Any, states: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        h = self.activation(projected + self._recur(states[0]))
        return [h], {"candidate": h}


@keras.saving.register_keras_serializable(package="keras_ssl")
class LSTMCell(_RecurrentCell):
    """Long short-term memory with a forget gate.

    With x the inputs, h the output and c the memory of the step before, σ `recurrent_activation`
    and ⊙ the elementwise product:

        i = σ(x W_i + h U_i + b_i)                    input gate
        f = σ(x W_f + h U_f + b_f)                    forget gate
        g = activation(x W_g + h U_g + b_g)           candidate
        o = σ(x W_o + h U_o + b_o)                    output gate
        c' = f ⊙ c + i ⊙ g
        h' = o ⊙ activation(c')

    The weights lie side by side in the order i, f, g, o, as in `keras.layers.LSTMCell`, which
    computes the same with the same weights where none of the three options is used:

    - with `peephole=True`, gates also see the memory, unit by unit: `p_i ⊙ c` is added to i,
      `p_f ⊙ c` to f and `p_o ⊙ c'` to o, before σ;
    - with `layer_norm=True`, x W, h U and, in the output, c' are each layer-normalised over all
      their entries: `h' = o ⊙ activation(norm(c'))`. The first two norms have a scale alone, since
      b follows;
    - with `learn_initial_state=True`, h and c before the first step are learned.

    Args:
        units: size of the output and of the memory.
        activation: activation of the candidate and of the memory.
        recurrent_activation: activation of the gates.
        forget_bias: what b_f begins with, in addition to what its initializer draws. At 1, the
            memory is kept at the start.
        peephole: whether gates see the memory.
        layer_norm: whether sums are layer-normalised.
        **kwargs: `use_bias` (default `True`), `learn_initial_state` (default `False`: states before
            the first step are 0); `kernel_initializer`, `recurrent_initializer` and
            `bias_initializer`, and the regularizers and constraints of the same names, as those of
            Keras' cell; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: one time step.
        states: list of output and memory, each `(batch, units)`.

    Input shape:
        `(batch, features)`.

    Output shape:
        `(batch, units)`, and the list of the new output and memory.

    Raises:
        ValueError: if `units` is below 1, or the input does not have rank 2.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> cell = layers.LSTMCell(8, peephole=True)
    >>> gates = cell.gates(np.ones((2, 3), "float32"))
    >>> {name: tuple(gate.shape) for name, gate in gates.items()}
    {'input': (2, 8), 'forget': (2, 8), 'candidate': (2, 8), 'output': (2, 8)}
    >>> layers.RecurrentLayer(cell)(np.ones((2, 5, 3), "float32")).shape
    TensorShape([2, 8])

    Reference:
        - Hochreiter & Schmidhuber, Long Short-Term Memory, Neural Computation 9, 1997
        - Gers et al., Learning to Forget, Neural Computation 12, 2000
        - Gers & Schmidhuber, Recurrent Nets that Time and Count, IJCNN 2000, for peepholes
        - [Ba et al., Layer Normalization](https://arxiv.org/abs/1607.06450)
    """

    parts = 4
    state_count = 2

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        forget_bias: float = 1.0,
        peephole: bool = False,
        layer_norm: bool = False,
        **kwargs: Any,
    ):
        super().__init__(units, activation, recurrent_activation, **kwargs)
        self.forget_bias = checks.number("forget_bias", forget_bias)
        self.peephole = peephole
        self.layer_norm = layer_norm
        self.cudnn_kernel = None if peephole or layer_norm else "lstm"
        if layer_norm:
            self.input_norm, self.recurrent_norm, self.memory_norm = (
                keras.layers.LayerNormalization(
                    epsilon=1e-5, center=center, dtype=self.dtype_policy, name=f"{name}_norm"
                )
                for name, center in (("input", False), ("recurrent", False), ("memory", True))
            )

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.peephole:
            self.peepholes = self.add_weight(
                name="peepholes", shape=(3, self.units), initializer="zeros"
            )
        if self.layer_norm:
            self.input_norm.build((None, 4 * self.units))
            self.recurrent_norm.build((None, 4 * self.units))
            self.memory_norm.build((None, self.units))

    def _bias_start(self, initializer: Any) -> Any:
        if not self.forget_bias:
            return initializer
        is_forget = [0.0] * self.units + [1.0] * self.units + [0.0] * 2 * self.units

        def start(shape: Any, dtype: Any = None) -> Any:
            added = ops.convert_to_tensor(is_forget, dtype) * self.forget_bias
            return initializer(shape, dtype=dtype) + added

        return start

    def project(self, inputs: Any) -> Any:
        if not self.layer_norm:
            return super().project(inputs)
        product = ops.matmul(inputs, ops.cast(self.kernel, self.compute_dtype))
        projected, bias = self.input_norm(product), self._input_bias()
        return projected if bias is None else projected + bias

    def advance(self, projected: Any, states: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        h, c = states
        recurrent = self._recur(h)
        if self.layer_norm:
            recurrent = self.recurrent_norm(recurrent)
        i, f, g, o = self._split(projected + recurrent)
        if self.peephole:
            to_input, to_forget, to_output = ops.unstack(
                ops.cast(self.peepholes, self.compute_dtype)
            )
            i, f = i + to_input * c, f + to_forget * c
        i, f, g = self.recurrent_activation(i), self.recurrent_activation(f), self.activation(g)
        c = f * c + i * g
        o = self.recurrent_activation(o + to_output * c if self.peephole else o)
        h = o * self.activation(self.memory_norm(c) if self.layer_norm else c)
        return [h, c], {"input": i, "forget": f, "candidate": g, "output": o}

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "forget_bias": self.forget_bias,
            "peephole": self.peephole,
            "layer_norm": self.layer_norm,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class GRUCell(_RecurrentCell):
    """Gated recurrent unit.

    With x the inputs, h the state, σ `recurrent_activation` and ⊙ the elementwise product:

        z = σ(x W_z + h U_z + b_z)                    update gate
        r = σ(x W_r + h U_r + b_r)                    reset gate
        g = activation(x W_g + r ⊙ (h U_g + d_g) + b_g)    candidate, reset after the product
        g = activation(x W_g + (r ⊙ h) U_g + b_g)          candidate, reset before it
        h' = z ⊙ h + (1 - z) ⊙ g

    The first candidate is that of cuDNN and PyTorch, the second that of the paper. The weights lie
    side by side in the order z, r, g, as in `keras.layers.GRUCell`, which computes the same with
    the same weights. With `reset_after=True` there are two biases, of inputs and of the state.

    Args:
        units: size of the output and of the state.
        activation: activation of the candidate.
        recurrent_activation: activation of the gates.
        reset_after: whether the reset gate comes after the product with the state.
        **kwargs: `use_bias` (default `True`), `learn_initial_state` (default `False`: the state
            before the first step is 0); `kernel_initializer`, `recurrent_initializer` and
            `bias_initializer`, and the regularizers and constraints of the same names, as those of
            Keras' cell; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: one time step.
        states: list of the state, `(batch, units)`.

    Input shape:
        `(batch, features)`.

    Output shape:
        `(batch, units)`, and the list of the new state.

    Raises:
        ValueError: if `units` is below 1, or the input does not have rank 2.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layer = layers.RecurrentLayer(layers.GRUCell(8))
    >>> sorted(layer.gates(np.ones((2, 5, 3), "float32")))
    ['candidate', 'reset', 'update']

    Reference:
        - [Cho et al., Learning Phrase Representations using RNN
          Encoder-Decoder](https://arxiv.org/abs/1406.1078)
    """

    parts = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        reset_after: bool = True,
        **kwargs: Any,
    ):
        super().__init__(units, activation, recurrent_activation, **kwargs)
        self.reset_after = reset_after
        self.cudnn_kernel = "gru" if reset_after else None

    def _bias_shape(self, width: int) -> tuple:
        return (2, width) if self.reset_after else (width,)

    def _input_bias(self) -> Any:
        bias = super()._input_bias()
        return bias[0] if self.reset_after and bias is not None else bias

    def advance(self, projected: Any, states: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        (h,) = states
        to_update, to_reset, to_candidate = self._split(projected)
        if self.reset_after:
            recurrent = self._recur(h)
            if self.bias is not None:
                recurrent = recurrent + ops.cast(self.bias, self.compute_dtype)[1]
            from_update, from_reset, from_candidate = self._split(recurrent)
        else:
            kernel = ops.cast(self.recurrent_kernel, self.compute_dtype)
            of_gates, of_candidate = kernel[:, : 2 * self.units], kernel[:, 2 * self.units :]
            from_update, from_reset = ops.split(ops.matmul(h, of_gates), 2, axis=-1)
        z = self.recurrent_activation(to_update + from_update)
        r = self.recurrent_activation(to_reset + from_reset)
        read = r * from_candidate if self.reset_after else ops.matmul(r * h, of_candidate)
        g = self.activation(to_candidate + read)
        return [z * h + (1 - z) * g], {"update": z, "reset": r, "candidate": g}

    def get_config(self) -> dict:
        return {**super().get_config(), "reset_after": self.reset_after}


@keras.saving.register_keras_serializable(package="keras_ssl")
class MinimalGRUCell(_RecurrentCell):
    """Minimal gated unit: a GRU with one gate, which both resets and updates.

    With x the inputs, h the state, σ `recurrent_activation` and ⊙ the elementwise product:

        f = σ(x W_f + h U_f + b_f)                    gate
        g = activation(x W_g + (f ⊙ h) U_g + b_g)     candidate
        h' = (1 - f) ⊙ h + f ⊙ g

    Args:
        units: size of the output and of the state.
        activation: activation of the candidate.
        recurrent_activation: activation of the gate.
        **kwargs: `use_bias` (default `True`), `learn_initial_state` (default `False`: the state
            before the first step is 0); `kernel_initializer`, `recurrent_initializer` and
            `bias_initializer`, and the regularizers and constraints of the same names, as those of
            Keras' cells; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: one time step.
        states: list of the state, `(batch, units)`.

    Input shape:
        `(batch, features)`.

    Output shape:
        `(batch, units)`, and the list of the new state.

    Raises:
        ValueError: if `units` is below 1, or the input does not have rank 2.

    Example:

    >>> from keras_ssl import layers
    >>> cell = layers.MinimalGRUCell(8)
    >>> cell.build((None, 8))
    >>> cell.count_params() / (8 * 8)  # twice kernel and recurrent kernel, and biases
    4.25

    Reference:
        - [Zhou et al., Minimal Gated Unit for Recurrent Neural
          Networks](https://arxiv.org/abs/1603.09420)
    """

    parts = 2

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        **kwargs: Any,
    ):
        super().__init__(units, activation, recurrent_activation, **kwargs)

    def advance(self, projected: Any, states: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        (h,) = states
        to_gate, to_candidate = self._split(projected)
        of_gate, of_candidate = self._split(ops.cast(self.recurrent_kernel, self.compute_dtype))
        f = self.recurrent_activation(to_gate + ops.matmul(h, of_gate))
        g = self.activation(to_candidate + ops.matmul(f * h, of_candidate))
        return [(1 - f) * h + f * g], {"forget": f, "candidate": g}


CELLS = {"lstm": LSTMCell, "gru": GRUCell, "minimal_gru": MinimalGRUCell, "rnn": RNNCell}
