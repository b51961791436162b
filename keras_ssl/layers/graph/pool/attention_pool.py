"""Pooling of nodes to graphs by attention: gated attention and Set2Set."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.graph_layer import check_layer
from keras_ssl.layers.graph.node_mask import with_mask
from keras_ssl.layers.graph.pool.node_pool import NodePool
from keras_ssl.ops.graph.edges import Edges


@keras.saving.register_keras_serializable(package="keras_ssl")
class AttentionPool(NodePool):
    """Weighted mean over the nodes of each graph, with weights computed by a gate.

        h_G = sum_n alpha_n f(x_n),    alpha = softmax of g(x_n) over the nodes n of the graph

    GGS-NN sums `sigmoid(g) tanh(f)`; with the softmax, weights sum to one whatever the size of the
    graph. If the gate has as many channels as `f`, each feature has its own weights.

    Args:
        transform: f, a layer or network applied to nodes, or `None` for the identity.
        gate: g, a layer or network applied to nodes, with 1 channel or as many as f; `None` for a
            dense layer with 1 channel. It needs no bias at the end, since the softmax ignores it.
        **kwargs: `graphs`, the number of graphs of a disjoint union, needed for static shapes
            (XLA); `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode, as in `SumPool`.
        mask: `True` for nodes, `False` for padding.

    Input shape:
        `(nodes, features)` in single and disjoint mode, `(batch, nodes, features)` in batch and
        mixed mode.

    Output shape:
        `(1, channels)`, `(graphs, channels)`, `(batch, channels)`, with the channels of f.

    Raises:
        TypeError: if `transform` or `gate` is not a Keras layer, or `i` does not hold integers.
        ValueError: if `graphs` is not positive, or shapes do not match.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.layers.graph import AttentionPool
    >>> pool = AttentionPool(keras.layers.Dense(8, activation="tanh"))
    >>> pool([np.ones((5, 3)), np.array([0, 0, 0, 1, 1])]).shape
    TensorShape([2, 8])

    Reference:
        - [Li et al., 2016](https://arxiv.org/abs/1511.05493)
    """

    def __init__(
        self,
        transform: keras.layers.Layer | None = None,
        gate: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, part in (("transform", transform), ("gate", gate)):
            if part is not None:
                check_layer(name, part)
        self.transform = transform
        self.given_gate = gate
        self.gate = gate or keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy)

    def build_nodes(self, features: int) -> None:
        for part in (self.gate, self.transform):
            if part is not None and not part.built:
                part.build((None, features))

    def pool(self, x: Any, members: Edges) -> Any:
        is_node = members.exist[..., 0]
        weights = members.softmax(self.gate(with_mask(x, is_node, self.gate)))
        if self.transform is not None:
            x = self.transform(with_mask(x, is_node, self.transform))
        return members.sum(weights * ops.cast(x, weights.dtype))

    def output_channels(self, features: int | None) -> int | None:
        if self.transform is None:
            return features
        return self.transform.compute_output_shape((None, features))[-1]

    def get_config(self) -> dict:
        parts = {"transform": self.transform, "gate": self.given_gate}
        return {
            **super().get_config(),
            **{
                name: None if part is None else keras.saving.serialize_keras_object(part)
                for name, part in parts.items()
            },
        }

    @classmethod
    def from_config(cls, config: dict) -> "AttentionPool":
        """Create the layer from its config."""
        return cls(**keras.saving.deserialize_keras_object(config))


@keras.saving.register_keras_serializable(package="keras_ssl")
class Set2Set(NodePool):
    """Attend to the nodes of each graph several times, with queries computed by an LSTM.

        q_t = LSTM(q*_{t-1})
        alpha = softmax of <x_n, q_t> over the nodes n of the graph
        r_t = sum_n alpha_n x_n
        q*_t = [q_t, r_t],    h_G = q*_T

    The result does not depend on the order of the nodes. For a graph without nodes every r_t is 0.

    Args:
        steps: T, the number of steps.
        **kwargs: `graphs`, the number of graphs of a disjoint union, needed for static shapes
            (XLA); `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode, as in `SumPool`.
        mask: `True` for nodes, `False` for padding.

    Input shape:
        `(nodes, features)` in single and disjoint mode, `(batch, nodes, features)` in batch and
        mixed mode.

    Output shape:
        `(1, 2 features)`, `(graphs, 2 features)`, `(batch, 2 features)`.

    Raises:
        ValueError: if `steps` or `graphs` is not positive, or shapes do not match.
        TypeError: if `steps` or `graphs` is not an integer, or `i` does not hold integers.

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
        self.steps = checks.integer("steps", steps, minimum=1)

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
