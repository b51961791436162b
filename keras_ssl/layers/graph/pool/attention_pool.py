"""A weighted mean over the nodes of a graph, the weights by attention."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.edges import Edges
from keras_ssl.layers.graph.pool._node_pool import NodePool


@keras.saving.register_keras_serializable(package="keras_ssl")
class AttentionPool(NodePool):
    """Average the nodes of each graph, a gate says which of them matter.

        h_G = sum_n alpha_n f(x_n),    alpha = softmax of g(x_n) over the nodes n of the graph

    GGS-NN sums `sigmoid(g) tanh(f)`; with the softmax the weights of a graph sum to one, whatever
    its size. A gate of as many channels as `f` weighs each feature by itself.

    Args:
        transform: f, a layer or network of the nodes, or `None` for the features as they are.
        gate: g, a layer or network of the nodes with 1 channel or as many as f, or `None` for a
            dense layer to 1. A bias of its last layer would shift all nodes alike and change
            nothing.
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
        `(1, channels)`, `(graphs, channels)`, `(batch, channels)`; the channels of f.

    Raises:
        TypeError: if `transform` or `gate` is no Keras layer, or `i` does not hold integers.
        ValueError: if `graphs` is not a positive integer, or shapes do not fit.

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
            if part is not None and not isinstance(part, keras.layers.Layer):
                raise TypeError(f"`{name}` must be a Keras layer. Received: {part!r}")
        self.transform = transform
        self.given_gate = gate
        self.gate = gate or keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy)

    def build_nodes(self, features: int) -> None:
        for part in (self.gate, self.transform):
            if part is not None and not part.built:
                part.build((None, features))

    def pool(self, x: Any, members: Edges) -> Any:
        weights = members.softmax(self.gate(x))
        if self.transform is not None:
            x = self.transform(x)
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
        """Make the layer that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config))
