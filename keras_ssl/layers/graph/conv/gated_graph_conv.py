"""The gated graph layer of Li et al."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.ops.graph.edges import connect


@keras.saving.register_keras_serializable(package="keras_ssl")
class GatedGraphConv(GraphConv):
    r"""Gated graph layer (GGS-NN): several rounds of messages, each the input of a GRU.

        h_0 = [x, 0]
        h_t = GRU(A h_{t-1} W_t, h_{t-1}),    t = 1, ..., steps
        output = activation(h_steps)

    All rounds share the GRU; each round has its own kernel W_t.

    Args:
        channels: number of hidden and output features per node, at least those of `x`, which are
            padded with zeros.
        steps: number of rounds.
        activation: activation function of the output.
        use_bias: whether the GRU has biases.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and `kernel_constraint` of the kernels
            W_t and of the GRU's input kernel, `bias_initializer`, `bias_regularizer` and
            `bias_constraint` of the GRU's biases; `aggregation` instead of "sum"; `name`, `dtype`
            and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`. `a` as in `layers.graph.MessagePassing`.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(..., nodes, channels)`.

    Raises:
        ValueError: if `channels` or `steps` is not positive, `x` has more features than `channels`,
            or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import GatedGraphConv
    >>> GatedGraphConv(4, steps=3)([np.ones((3, 2)), np.ones((3, 3))]).shape
    TensorShape([3, 4])

    Reference:
        - [Li et al., 2016](https://arxiv.org/abs/1511.05493)
    """

    def __init__(
        self,
        channels: int,
        steps: int = 3,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        self.steps = checks.integer("steps", steps, minimum=1)
        self.cell = keras.layers.GRUCell(
            channels,
            use_bias=self.use_bias,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            dtype=self.dtype_policy,
            name="gru",
        )

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        if features > self.channels:
            raise ValueError(
                f"`channels` must be at least the number of node features, {features}. "
                f"Received: channels={self.channels}"
            )
        self.kernels = [
            self.add_kernel((self.channels, self.channels), f"kernel_{step + 1}")
            for step in range(self.steps)
        ]
        self.cell.build((None, self.channels))

    def call(self, inputs: Any) -> Any:
        x, a, e = self.split_inputs(inputs)
        edges = connect(x, a)
        h = ops.pad(x, [(0, 0)] * (len(x.shape) - 1) + [(0, self.channels - x.shape[-1])])
        for kernel in self.kernels:
            received = self.propagate(ops.matmul(h, kernel), edges, e)
            h = self._update_by_cell(received, h)
        return self.activation(h)

    def _update_by_cell(self, received: Any, h: Any) -> Any:
        """Apply the GRU, which takes matrices, to the nodes of all examples."""
        rows = (-1, self.channels)
        updated, _ = self.cell(ops.reshape(received, rows), [ops.reshape(h, rows)])
        return ops.reshape(updated, ops.shape(h))

    def get_config(self) -> dict:
        return {**super().get_config(), "steps": self.steps}
