"""Convolution with kernels computed from edge features."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.layers.graph.graph_layer import apply_to_edges, build_network, check_layer
from keras_ssl.ops.graph.edges import Edges, connect

_LINEAR_AGGREGATIONS = ("sum", "mean")


@keras.saving.register_keras_serializable(package="keras_ssl")
class EdgeConditionedConv(GraphConv):
    r"""Graph convolution with a separate kernel per edge, computed from the edge's features.

        h_i = activation(W x_i + mean_j Θ(e_ij) x_j + b)
        Θ(e) = Θ_0 + sum_q z_q Θ_q,    z = network(e)

    z are the edge features, or the output of a network on them, and Θ_q are learned kernels. Since
    messages are linear in the kernels, `sum_j z_ij x_j` is computed first and then multiplied by
    the kernels once per node: the kernels Θ(e_ij) are never materialised.

    Edge weights are not used, except that 0 means no edge; put weights into `e` instead.

    Args:
        channels: number of output features per node.
        edge_network: Keras layer from edge features to z, such as
            `keras.layers.Dense(16, activation="relu")`; `None` for z = e.
        use_self: whether to add W x_i.
        aggregation: "mean" as in the paper, "sum" as in message passing networks (Gilmer et al.),
            or "max", "min", "std", which are slower.
        activation: activation function.
        use_bias: whether to add a bias.
        **kwargs: initializers, regularizers and constraints of kernel and bias, as in
            `keras.layers.Dense`; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a, e]`. `a` as in `layers.graph.MessagePassing`.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` is `(nodes, nodes)` or
        `(batch, nodes, nodes)`, or an edge list; `e` is `(edges, edge_features)` in the order of
        the edges, or `(..., nodes, nodes, edge_features)` for a dense `a`.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Raises:
        ValueError: if `channels` is not positive, `aggregation` is unknown, edge features are
            missing, or shapes do not match.
        TypeError: if `edge_network` is not a Keras layer.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.layers.graph import EdgeConditionedConv
    >>> layer = EdgeConditionedConv(8, keras.layers.Dense(16, activation="relu"))
    >>> layer([np.ones((3, 4)), np.ones((3, 3)), np.ones((3, 3, 2))]).shape
    TensorShape([3, 8])

    Reference:
        - [Simonovsky and Komodakis, 2017](https://arxiv.org/abs/1704.02901)
        - [Gilmer et al., 2017](https://arxiv.org/abs/1704.01212)
    """

    def __init__(
        self,
        channels: int,
        edge_network: keras.layers.Layer | None = None,
        use_self: bool = True,
        aggregation: str = "mean",
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, aggregation=aggregation, **kwargs)
        if edge_network is not None:
            check_layer("edge_network", edge_network)
        self.edge_network = edge_network
        self.use_self = bool(use_self)

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        if edge_features is None:
            raise ValueError(
                "`EdgeConditionedConv` must be called on `[x, a, e]`, with a known number of edge "
                "features. Received: no features of edges"
            )
        width = edge_features
        if self.edge_network is not None:
            width = build_network(self.edge_network, edge_features)
        self.kernel = self.add_kernel((width, features, self.channels))
        self.base_kernel = self.add_kernel((features, self.channels), name="base_kernel")
        if self.use_self:
            self.self_kernel = self.add_kernel((features, self.channels), name="self_kernel")
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, e = self.split_inputs(inputs)
        return self.finish(self.propagate(x, connect(x, a), e))

    def message(self, x: Any, edges: Edges, e: Any = None) -> Any:
        z = e if self.edge_network is None else apply_to_edges(self.edge_network, e)
        z = ops.concatenate([ops.cast(z, x.dtype), ops.ones_like(z[..., :1], dtype=x.dtype)], -1)
        sent = edges.from_senders(x)
        # the outer product of z and x_j, flattened
        return ops.concatenate([z[..., q : q + 1] * sent for q in range(z.shape[-1])], axis=-1)

    def aggregate(self, messages: Any, edges: Edges) -> Any:
        kernels = ops.concatenate([self.kernel, ops.expand_dims(self.base_kernel, 0)], axis=0)
        kernels = ops.reshape(kernels, (-1, self.channels))
        if self.aggregation in _LINEAR_AGGREGATIONS:
            return ops.matmul(super().aggregate(messages, edges), kernels)
        return super().aggregate(ops.matmul(messages, kernels), edges)

    def update(self, x: Any, aggregated: Any) -> Any:
        return aggregated + ops.matmul(x, self.self_kernel) if self.use_self else aggregated

    def get_config(self) -> dict:
        network = self.edge_network
        return {
            **super().get_config(),
            "edge_network": network and keras.saving.serialize_keras_object(network),
            "use_self": self.use_self,
        }
