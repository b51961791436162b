"""A recurrent reading of a graph's nodes that does not depend on their order."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.conv._graph_conv import positive_integer
from keras_ssl.layers.graph.edges import Edges
from keras_ssl.layers.graph.pool._node_pool import NodePool


@keras.saving.register_keras_serializable(package="keras_ssl")
class Set2Set(NodePool):
    """Read the nodes of each graph several times, an LSTM says what to look for next.

        q_t = LSTM(q*_{t-1})
        alpha = softmax of <x_n, q_t> over the nodes n of the graph
        r_t = sum_n alpha_n x_n
        q*_t = [q_t, r_t],    h_G = q*_T

    The order of the nodes does not matter. Of a graph without nodes every r_t is 0.

    Args:
        steps: T, how often the nodes are read.
        **kwargs: `graphs`, how many graphs a disjoint union holds (needed where shapes must be
            known, as for XLA); `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode: `i` is the graph of each node. Nodes whose `i`
            is negative, or not below `graphs`, are padding.
        mask: `True` where a row of `x` is a node and no padding.

    Input shape:
        `(nodes, features)` in single and disjoint mode, `(batch, nodes, features)` in batch and
        mixed mode.

    Output shape:
        `(1, 2 features)`, `(graphs, 2 features)`, `(batch, 2 features)`.

    Raises:
        ValueError: if `steps` or `graphs` is not a positive integer, or shapes do not fit.
        TypeError: if `i` does not hold integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import Set2Set
    >>> Set2Set(steps=3)([np.ones((5, 4)), np.array([0, 0, 0, 1, 1])]).shape
    TensorShape([2, 8])

    Reference:

    - [Vinyals et al., 2016](https://arxiv.org/abs/1511.06391)
    """

    def __init__(self, steps: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.steps = positive_integer("steps", steps)

    def build_nodes(self, features: int) -> None:
        self.cell = keras.layers.LSTMCell(features, dtype=self.dtype_policy)
        self.cell.build((None, 2 * features))

    def pool(self, x: Any, members: Edges) -> Any:
        nothing = ops.zeros_like(members.sum(x))
        states = [ops.cast(nothing, self.compute_dtype)] * 2
        query, read = nothing, nothing
        for _ in range(self.steps):
            query, states = self.cell(ops.concatenate([query, read], axis=-1), states)
            query = ops.cast(query, x.dtype)
            scores = ops.sum(x * members.from_receivers(query), axis=-1, keepdims=True)
            read = members.sum(ops.cast(members.softmax(scores), x.dtype) * x)
        return ops.concatenate([query, read], axis=-1)

    def output_channels(self, features: int | None) -> int | None:
        return None if features is None else 2 * features

    def get_config(self) -> dict:
        return {**super().get_config(), "steps": self.steps}
