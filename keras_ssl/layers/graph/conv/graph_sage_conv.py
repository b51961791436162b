"""The GraphSAGE layer of Hamilton et al., and its LSTM aggregator."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.conv.message_passing import GraphConv, MessagePassing
from keras_ssl.layers.graph.graph_layer import GraphLayer, shapes_of_inputs
from keras_ssl.ops import l2_normalize
from keras_ssl.ops.graph.edges import connect
from keras_ssl.ops.graph.sparse import is_sparse, multiply_features


@keras.saving.register_keras_serializable(package="keras_ssl")
class GraphSAGEConv(GraphConv):
    r"""GraphSAGE: a node's own features and what it aggregates of its neighbours', each projected.

        h_i' = activation(W_1 h_i + W_2 aggregate(h_j of neighbours j) + b)

    This is the paper's W applied to both, put side by side. The aggregators of the paper:

    - mean: `GraphSAGEConv(channels)`; Σ a_ij h_j / degree, where degree counts edges.
    - pooling: `GraphSAGEConv(channels, GraphSequential([keras.layers.Dense(units, "relu"),
      MessagePassing("max")]))`.
    - LSTM: `GraphSAGEConv(channels, LSTMNeighbors(units, max_neighbors))`.

    Nodes without neighbours aggregate zeros.

    Args:
        channels: number of features that a node has afterwards.
        aggregation: "mean", "max", "sum", "min" or "std" of what neighbours send, `a_ij h_j`, or
            any layer on `[x, a]`.
        l2_normalize: whether to scale each node's output to length 1, as the paper does.
        activation: activation function.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of the kernels.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernels.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the kernels.
        bias_constraint: constraint of the bias.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`. `a` as in `layers.graph.MessagePassing`. `x` may be sparse where
            the aggregation is "mean" or "sum".

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` is `(nodes, nodes)` or
        `(batch, nodes, nodes)`, or an edge list.

    Output shape:
        `(..., nodes, channels)`.

    Raises:
        ValueError: if `channels` is not a positive integer, `aggregation` is unknown, or shapes do
            not fit.

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

    def __init__(
        self,
        channels: int,
        aggregation: str | keras.layers.Layer = "mean",
        l2_normalize: bool = False,
        **kwargs: Any,
    ):
        self.is_by_layer = isinstance(aggregation, keras.layers.Layer)
        name = "sum" if self.is_by_layer else aggregation
        super().__init__(channels, aggregation=name, **kwargs)
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

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.self_kernel = self.add_kernel((features, self.channels), "self_kernel")
        shape = (self.aggregated_features, self.channels)
        self.neighbors_kernel = self.add_kernel(shape, "neighbors_kernel")
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        own = multiply_features(x, self.self_kernel)
        is_linear = not self.is_by_layer and self.aggregation in ("sum", "mean")
        if is_linear and (is_sparse(x) or self.channels < x.shape[-1]):
            # the same, and less to send
            received = self.aggregator([multiply_features(x, self.neighbors_kernel), a])
        else:
            received = ops.cast(self.aggregator([x, a]), self.compute_dtype)
            received = ops.matmul(received, self.neighbors_kernel)
        h = self.finish(own + received)
        return ops.cast(l2_normalize(h), self.compute_dtype) if self.l2_normalize else h

    def get_config(self) -> dict:
        config = {**super().get_config(), "l2_normalize": self.l2_normalize}
        if self.is_by_layer:
            config["aggregation"] = keras.saving.serialize_keras_object(self.aggregator)
        return config

    @classmethod
    def from_config(cls, config: dict) -> "GraphSAGEConv":
        """Make the layer that `config` describes."""
        aggregation = config["aggregation"]
        if isinstance(aggregation, dict):
            aggregation = keras.saving.deserialize_keras_object(aggregation)
        return cls(**{**config, "aggregation": aggregation})


@keras.saving.register_keras_serializable(package="keras_ssl")
class LSTMNeighbors(GraphLayer):
    r"""Read the neighbours of each node one after the other, and return what is held at the end.

        h_i = LSTM(x_j1, x_j2, ...)    with the neighbours j1, j2, ... of i

    The order of the neighbours matters: it is that of a list's edges, or of the columns of a
    matrix. Draw it at random from step to step, as the paper does, by shuffling the list. Nodes
    without neighbours get zeros. Weights of edges say which edges there are (0 is none).

    Args:
        units: number of features that a node has afterwards.
        max_neighbors: how many neighbours are read. Of a node that has more, the first ones. The
            sequences are of this length, so memory grows with it.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`. `a` as in `layers.graph.MessagePassing`.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` is `(nodes, nodes)` or
        `(batch, nodes, nodes)`, or an edge list.

    Output shape:
        `(..., nodes, units)`.

    Raises:
        ValueError: if `units` or `max_neighbors` is not a positive integer, or shapes do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import LSTMNeighbors
    >>> LSTMNeighbors(4, max_neighbors=2)([np.ones((3, 2)), np.ones((3, 3))]).shape
    TensorShape([3, 4])

    Reference:

    - [Hamilton et al., 2017](https://arxiv.org/abs/1706.02216), section 3.3
    """

    def __init__(self, units: int, max_neighbors: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = checks.integer("units", units, minimum=1)
        self.max_neighbors = checks.integer("max_neighbors", max_neighbors, minimum=1)
        self.lstm = keras.layers.LSTM(units, dtype=self.dtype_policy, name="lstm")

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.lstm.build((None, self.max_neighbors, features))

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        sent, is_sent = connect(x, a).from_first_senders(x, self.max_neighbors)
        is_sent = ops.broadcast_to(is_sent, ops.shape(sent)[:-1])
        held = self.lstm(
            ops.reshape(sent, (-1, self.max_neighbors, x.shape[-1])),
            mask=ops.reshape(is_sent, (-1, self.max_neighbors)),
        )
        return ops.reshape(held, (*ops.shape(x)[:-1], self.channels))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*shapes_of_inputs(input_shape)[0][:-1], self.channels)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.channels,
            "max_neighbors": self.max_neighbors,
        }
