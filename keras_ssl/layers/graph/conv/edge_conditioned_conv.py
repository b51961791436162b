"""Convolutions whose kernels depend on the edge: on its features, or on its type."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.layers.graph.graph_layer import apply_to_edges, build_network, check_layer
from keras_ssl.ops.graph.edges import Edges, connect
from keras_ssl.ops.graph.sparse import is_sparse, multiply_features

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
        z = e if self.edge_network is None else apply_to_edges(self.edge_network, e, edges.exist)
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


@keras.saving.register_keras_serializable(package="keras_ssl")
class RGCNConv(GraphConv):
    r"""Relational graph convolution: a kernel for each type of edge, as in knowledge graphs.

        h_i = activation(W_0 x_i + sum_r mean_j a_ij W_r x_j + b),    j over the neighbors of type r

    The mean counts edges, and is 0 for a type of which a node receives none. With many types the
    kernels have many weights, which two decompositions share or leave out:

    - `bases`: W_r = sum_b c_rb V_b, combinations of a few kernels V_b.
    - `blocks`: W_r is block-diagonal, so that features only meet within a block.

    Types are edge features: their numbers from 0 in one column, `(..., 1)`. Where two nodes are
    connected by edges of several types, an edge list has several edges, and a matrix has features
    `(..., relations)` of zeros and ones. An edge whose number is out of range has no effect.
    `graphs.from_triples` makes typed edges of facts, and adds inverse relations, as the paper does.

    Args:
        channels: number of output features per node.
        relations: number of types of edges.
        bases: number of kernels V_b, or `None` for separate kernels.
        blocks: number of blocks, a divisor of the numbers of features and of channels; or `None`.
        use_self: whether to add W_0 x_i.
        aggregation: "mean" as in the paper, or "sum".
        activation: activation function.
        use_bias: whether to add a bias.
        **kwargs: initializers, regularizers and constraints of kernel and bias, as in
            `keras.layers.Dense`; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a, e]`. `x` may be sparse, such as the identity for nodes without features. `a`
            as in `layers.graph.MessagePassing`.

    Input shape:
        `x` and `a` as in `layers.graph.MessagePassing`; `e` is `(edges, 1)` or
        `(edges, relations)` in the order of the edges, or `(..., nodes, nodes, 1)` or
        `(..., nodes, nodes, relations)` for a dense `a`.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Raises:
        ValueError: if a number is not positive, `bases` and `blocks` are both given, `blocks` is
            not a divisor, `aggregation` is unknown, edge types are missing, or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import RGCNConv
    >>> a = {"senders": np.array([0, 1, 1]), "receivers": np.array([1, 2, 0])}
    >>> types = np.array([[0], [1], [1]])
    >>> RGCNConv(8, relations=2)([np.ones((3, 4)), a, types]).shape
    TensorShape([3, 8])

    Reference:
        - [Schlichtkrull et al., 2018](https://arxiv.org/abs/1703.06103)
    """

    aggregations = _LINEAR_AGGREGATIONS
    takes_sparse_features = True

    def __init__(
        self,
        channels: int,
        relations: int,
        bases: int | None = None,
        blocks: int | None = None,
        use_self: bool = True,
        aggregation: str = "mean",
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, aggregation=aggregation, **kwargs)
        self.relations = checks.integer("relations", relations, minimum=1)
        self.bases = checks.integer("bases", bases, minimum=1, optional=True)
        self.blocks = checks.integer("blocks", blocks, minimum=1, optional=True)
        self.use_self = bool(use_self)
        if bases is not None and blocks is not None:
            raise ValueError(
                "`bases` and `blocks` are two decompositions, of which a layer has one. Received: "
                f"bases={bases}, blocks={blocks}"
            )

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        if edge_features not in (1, self.relations):
            raise ValueError(
                "`RGCNConv` must be called on `[x, a, e]`, where `e` has one column with the type "
                f"of each edge, or {self.relations} columns of zeros and ones. Received: "
                f"{edge_features or 'no'} features of edges"
            )
        blocks = self.blocks or 1
        if features % blocks or self.channels % blocks:
            raise ValueError(
                "`blocks` must be a divisor of the numbers of features and of channels. Received: "
                f"blocks={blocks} with {features} features and {self.channels} channels"
            )
        shape = (self.bases or self.relations, features, self.channels)
        if self.blocks is not None:
            shape = (self.relations, blocks, features // blocks, self.channels // blocks)
        self.kernel = self.add_stacked_kernels(shape)
        if self.bases is not None:
            self.coefficients = self.add_kernel((self.relations, self.bases), "coefficients")
        if self.use_self:
            self.self_kernel = self.add_kernel((features, self.channels), "self_kernel")
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        edges = connect(x, a)
        weights = self._weights_by_kernel(edges, inputs[2])
        h = multiply_features(x, self.self_kernel) if self.use_self else 0.0
        kernels = self._kernels_of(x)
        # the product that sends fewer features
        kernel_first = is_sparse(x) or self.channels < x.shape[-1]
        for number in range(kernels.shape[0]):
            of_kernel = edges.with_weights(weights[..., number : number + 1])
            if kernel_first:
                h = h + of_kernel.multiply(multiply_features(x, kernels[number]))
            else:
                h = h + ops.matmul(of_kernel.multiply(x), kernels[number])
        return self.finish(h)

    def _weights_by_kernel(self, edges: Edges, e: Any) -> Any:
        """Return the weight of each edge in the product with each kernel."""
        if e.shape[-1] == 1:
            e = ops.one_hot(ops.cast(e[..., 0], "int32"), self.relations)
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        is_of_type = ops.cast(ops.logical_and(ops.not_equal(e, 0), edges.exist), dtype)
        weights = is_of_type * ops.cast(edges.weights, dtype)
        if self.aggregation == "mean":
            weights = weights / edges.from_receivers(ops.maximum(edges.sum(is_of_type), 1.0))
        if self.bases is None:
            return weights
        return ops.matmul(weights, ops.cast(self.coefficients, dtype))

    def _kernels_of(self, x: Any) -> Any:
        """Return the kernels as matrices, `(kernels, features, channels)`."""
        kernels = ops.convert_to_tensor(self.kernel)
        if self.blocks is None:
            return kernels
        diagonal = ops.eye(self.blocks, dtype=kernels.dtype)
        # (relations, blocks, features of a block, blocks, channels of a block)
        spread = kernels[:, :, :, None, :] * diagonal[None, :, None, :, None]
        return ops.reshape(spread, (self.relations, x.shape[-1], self.channels))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "relations": self.relations,
            "bases": self.bases,
            "blocks": self.blocks,
            "use_self": self.use_self,
        }
