"""The GraphSAGE layer of Hamilton et al., and its LSTM aggregator."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.conv.message_passing import GraphConv, MessagePassing
from keras_ssl.layers.graph.graph_layer import GraphLayer, mask_of_nodes, shapes_of_inputs
from keras_ssl.layers.graph.node_mask import with_mask
from keras_ssl.ops import l2_normalize
from keras_ssl.ops.graph.edges import connect, is_pair, source_nodes, target_nodes
from keras_ssl.ops.graph.sparse import is_sparse, multiply_features


@keras.saving.register_keras_serializable(package="keras_ssl")
class GraphSAGEConv(GraphConv):
    r"""GraphSAGE: a sum of projections of each node's features and of its aggregated neighbors.

        h_i' = activation(W_1 h_i + W_2 aggregate(h_j of neighbors j) + b)

    This equals the paper's W applied to the concatenation of both. The aggregators of the paper:

    - mean: `GraphSAGEConv(channels)`; Σ a_ij h_j / degree, where the degree counts edges.
    - pooling: `GraphSAGEConv(channels, GraphSequential([keras.layers.Dense(units, "relu"),
      MessagePassing("max")]))`.
    - LSTM: `GraphSAGEConv(channels, LSTMNeighbors(units, max_neighbors))`.

    The aggregation is 0 for nodes without neighbors.

    Args:
        channels: number of output features per node.
        aggregation: "mean", "max", "sum", "min" or "std" of the messages `a_ij h_j`, or any layer
            called on `[x, a]`.
        l2_normalize: whether to scale each node's output to unit length, as in the paper.
        activation: activation function.
        use_bias: whether to add a bias.
        **kwargs: initializers, regularizers and constraints of kernel and bias, as in
            `keras.layers.Dense`; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[[x_source, x_target], a]` for a bipartite graph. `a` as in
            `layers.graph.MessagePassing`. `x` may be sparse if the aggregation is "mean" or "sum".
        mask: `[mask of x, ...]`, as passed by Keras, for the statistics of an aggregation.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(..., nodes, channels)`.

    Raises:
        ValueError: if `channels` is not positive, `aggregation` is unknown, or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import GraphSAGEConv, LSTMNeighbors
    >>> inputs = [np.ones((3, 2)), np.ones((3, 3))]
    >>> GraphSAGEConv(4, activation="relu")(inputs).shape
    TensorShape([3, 4])
    >>> GraphSAGEConv(4, LSTMNeighbors(8, max_neighbors=2), l2_normalize=True)(inputs).shape
    TensorShape([3, 4])

    Reference:
        - [Hamilton et al., 2017](https://arxiv.org/abs/1706.02216)
    """

    takes_sparse_features = True
    takes_bipartite = True

    def __init__(
        self,
        channels: int,
        aggregation: str | keras.layers.Layer = "mean",
        l2_normalize: bool = False,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        self.is_by_layer = isinstance(aggregation, keras.layers.Layer)
        name = "sum" if self.is_by_layer else aggregation
        super().__init__(channels, activation, use_bias, aggregation=name, **kwargs)
        self.l2_normalize = bool(l2_normalize)
        if not self.is_by_layer:
            aggregation = MessagePassing(name, dtype=self.dtype_policy, name="aggregator")
        self.aggregator = aggregation

    def build(self, input_shape: Any) -> None:
        shapes = shapes_of_inputs(input_shape)[:2]
        if not self.aggregator.built:
            self.aggregator.build(shapes)
        self.aggregated_features = self.aggregator.compute_output_shape(shapes)[-1]
        super().build(input_shape)

    def build_nodes(self, features: Any, edge_features: int | None = None) -> None:
        own = features[1] if self.is_bipartite else features
        self.self_kernel = self.add_kernel((own, self.channels), "self_kernel")
        shape = (self.aggregated_features, self.channels)
        self.neighbors_kernel = self.add_kernel(shape, "neighbors_kernel")
        self.add_bias(self.channels)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        x, a, _ = self.split_inputs(inputs)
        sources, targets = source_nodes(x), target_nodes(x)
        own = multiply_features(targets, self.self_kernel)
        is_linear = not self.is_by_layer and self.aggregation in ("sum", "mean")
        if is_linear and (is_sparse(sources) or self.channels < sources.shape[-1]):
            # projecting first is equivalent, and messages are smaller
            sent = multiply_features(sources, self.neighbors_kernel)
            received = self.aggregator([[sent, own] if is_pair(x) else sent, a])
        else:
            sent = x if is_pair(x) else with_mask(x, mask_of_nodes(mask), self.aggregator)
            received = ops.cast(self.aggregator([sent, a]), self.compute_dtype)
            received = ops.matmul(received, self.neighbors_kernel)
        h = self.finish(own + received)
        return ops.cast(l2_normalize(h), self.compute_dtype) if self.l2_normalize else h

    def get_config(self) -> dict:
        config = {**super().get_config(), "l2_normalize": self.l2_normalize}
        if self.is_by_layer:
            config["aggregation"] = keras.saving.serialize_keras_object(self.aggregator)
        return config


@keras.saving.register_keras_serializable(package="keras_ssl")
class LSTMNeighbors(GraphLayer):
    r"""The last state of an LSTM over the neighbors of each node, an aggregator for GraphSAGE.

        h_i = LSTM(x_j1, x_j2, ...)    with the neighbors j1, j2, ... of i

    Neighbors come in the order of an edge list, or of the columns of a matrix. The paper uses a new
    random order in each step, which shuffling the edge list gives. Nodes without neighbors get
    zeros. Edge weights are not used, except that 0 means no edge.

    Args:
        units: number of output features per node.
        max_neighbors: length of the sequences, with which memory grows. Further neighbors of a node
            are ignored.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[[x_source, x_target], a]`. `a` as in `layers.graph.MessagePassing`.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(..., nodes, units)`.

    Raises:
        ValueError: if `units` or `max_neighbors` is not positive, or shapes do not match.
        TypeError: if one of them is not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import LSTMNeighbors
    >>> LSTMNeighbors(4, max_neighbors=2)([np.ones((3, 2)), np.ones((3, 3))]).shape
    TensorShape([3, 4])

    Reference:
        - [Hamilton et al., 2017](https://arxiv.org/abs/1706.02216), section 3.3
    """

    takes_bipartite = True

    def __init__(self, units: int, max_neighbors: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = checks.integer("units", units, minimum=1)
        self.max_neighbors = checks.integer("max_neighbors", max_neighbors, minimum=1)
        self.lstm = keras.layers.LSTM(units, dtype=self.dtype_policy, name="lstm")

    def build_nodes(self, features: Any, edge_features: int | None = None) -> None:
        sent = features[0] if self.is_bipartite else features
        self.lstm.build((None, self.max_neighbors, sent))

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        sent, is_sent = connect(x, a).from_first_senders(x, self.max_neighbors)
        is_sent = ops.broadcast_to(is_sent, ops.shape(sent)[:-1])
        state = self.lstm(
            ops.reshape(sent, (-1, self.max_neighbors, sent.shape[-1])),
            mask=ops.reshape(is_sent, (-1, self.max_neighbors)),
        )
        return ops.reshape(state, (*ops.shape(target_nodes(x))[:-1], self.channels))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.channels,
            "max_neighbors": self.max_neighbors,
        }
