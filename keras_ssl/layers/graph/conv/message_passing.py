"""The general graph layer, and the base of convolutions with dense kernels."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.graph.graph_layer import GraphLayer
from keras_ssl.ops.graph.edges import Edges, connect, target_nodes, weighted

AGGREGATIONS = ("sum", "mean", "max", "min", "std")


@keras.saving.register_keras_serializable(package="keras_ssl")
class MessagePassing(GraphLayer):
    """Aggregate the messages that each node receives from its neighbors.

    For node i with neighbors j over edges of weight a_ij and features e_ij:

        m_ij = message(x_i, x_j, a_ij, e_ij)
        m_i  = aggregate of m_ij over j
        h_i  = update(x_i, m_i)

    By default a message is `a_ij x_j`, and the update returns the aggregated messages. Custom
    layers override `message`, `aggregate` or `update`, and then work for all forms and modes of
    the adjacency:

    | mode | `x` | `a` |
    |---|---|---|
    | single, disjoint | `(nodes, features)` | `(nodes, nodes)` dense or sparse, or an edge list |
    | batch | `(batch, nodes, features)` | `(batch, nodes, nodes)` dense |
    | mixed | `(batch, nodes, features)` | as in single mode: one graph for all examples |

    `a[i, j]` is the weight of the edge from node j to node i. A weight of 0 means that there is no
    edge, so edge lists can be padded to a static length (for XLA) by edges of weight 0 between any
    two nodes. Nodes without incoming edges get zeros.

    In a bipartite graph, nodes of one kind send to nodes of another, such as users to items:
    `[[x_source, x_target], a]`, with as many features of each kind as one likes, an `a` of shape
    `(targets, sources)`, and senders and receivers that count within their kind. x_j is then a
    source, x_i a target, and the output has one row per target.

    Args:
        aggregation: "sum", "mean", "max", "min" or "std".
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` with edge features. `a` is a dense tensor, a sparse tensor,
            or an edge list: a dictionary with `senders` and `receivers` (integers) and optionally
            `weights`, each of shape `(edges,)`.

    Input shape:
        As above; `e` is `(edges, edge_features)` in the order of the edges, or
        `(..., nodes, nodes, edge_features)` for a dense `a`.

    Output shape:
        `(..., nodes, channels)`.

    Raises:
        ValueError: if `aggregation` is unknown, or the shapes of `x` and `a` do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import MessagePassing
    >>> x = np.array([[1.0], [2.0], [4.0]])
    >>> path = {"senders": np.array([0, 1, 1, 2]), "receivers": np.array([1, 0, 2, 1])}
    >>> MessagePassing()([x, path]).numpy().ravel().tolist()
    [2.0, 5.0, 2.0]
    >>> MessagePassing("max")([x, np.ones((3, 3))]).numpy().ravel().tolist()
    [4.0, 4.0, 4.0]

    Reference:
        - [Gilmer et al., 2017](https://arxiv.org/abs/1704.01212)
    """

    # the aggregations that a layer supports
    aggregations: tuple[str, ...] = AGGREGATIONS
    takes_bipartite = True

    def __init__(self, aggregation: str = "sum", **kwargs: Any):
        super().__init__(**kwargs)
        if aggregation not in self.aggregations:
            raise ValueError(
                f"`aggregation` must be one of {self.aggregations}. Received: {aggregation!r}"
            )
        self.aggregation = aggregation

    def call(self, inputs: Any) -> Any:
        x, a, e = self.split_inputs(inputs)
        return self.propagate(x, connect(x, a), e)

    def propagate(self, x: Any, edges: Edges, e: Any = None) -> Any:
        """Return node features after one round of messages.

        Args:
            x: node features.
            edges: the edges.
            e: edge features, or `None`.
        """
        is_product = type(self).message is MessagePassing.message and self.aggregation == "sum"
        if is_product and type(self).aggregate is MessagePassing.aggregate:
            aggregated = edges.multiply(x)  # without materialising messages
        else:
            aggregated = self.aggregate(self.message(x, edges, e), edges)
        return self.update(target_nodes(x), aggregated)

    def message(self, x: Any, edges: Edges, e: Any = None) -> Any:
        """Return the message of each edge.

        Args:
            x: node features, or the pair `[x_source, x_target]`.
            edges: `edges.from_senders(x)` is x_j of each edge, `edges.from_receivers(x)` is x_i,
                `edges.weights` is a_ij.
            e: edge features, or `None`.
        """
        return weighted(edges.weights, edges.from_senders(x))

    def aggregate(self, messages: Any, edges: Edges) -> Any:
        """Return the aggregated messages of each node, `(..., nodes, features)`."""
        return getattr(edges, self.aggregation)(messages)

    def update(self, x: Any, aggregated: Any) -> Any:
        """Return the new node features `(..., nodes, channels)`, given the old ones."""
        return aggregated

    def get_config(self) -> dict:
        return {**super().get_config(), "aggregation": self.aggregation}


class GraphConv(MessagePassing):
    """Base of graph convolutions: kernels, a bias and an activation, as in `keras.layers.Dense`.

    Subclasses create kernels by `add_kernel` and the bias by `add_bias`, and end with `finish`.
    """

    takes_bipartite = False

    def __init__(
        self,
        channels: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.channels = checks.integer("channels", channels, minimum=1)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.bias = None
        self._kernels = 0

    def add_kernel(self, shape: tuple[int, ...], name: str = "kernel") -> keras.Variable:
        """Create a kernel. The n-th kernel of a layer adds n - 1 to the initializer's seed."""
        return self._add_kernel(shape, self._next_initializer(), name)

    def add_stacked_kernels(self, shape: tuple[int, ...], name: str = "kernel") -> keras.Variable:
        """Create kernels `(..., features, channels)`, each initialized as if it were the only one.

        The initializer alone takes leading axes for a convolution window, over which it sums.
        """
        initializer = self._next_initializer()

        def each(shape: tuple[int, ...], dtype: Any = None) -> Any:
            drawn = initializer(shape, dtype=dtype)
            is_scaled = isinstance(initializer, keras.initializers.VarianceScaling)
            return drawn * math.prod(shape[:-2]) ** 0.5 if is_scaled else drawn

        return self._add_kernel(shape, each, name)

    def _next_initializer(self, given: Any = None) -> Any:
        given = self.kernel_initializer if given is None else given
        initializer = initializer_copy(given, self._kernels + 1)
        seed = getattr(given, "seed", None)
        if isinstance(seed, int):
            # a seed that was not given was drawn with the layer, and must not be drawn again
            initializer.seed = seed + self._kernels
        self._kernels += 1
        return initializer

    def _add_kernel(self, shape: tuple[int, ...], initializer: Any, name: str) -> keras.Variable:
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name=name,
        )

    def add_bias(self, width: int, name: str = "bias") -> None:
        """Create the bias, if the layer has one."""
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(width,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name=name,
            )

    def finish(self, h: Any) -> Any:
        """Add the bias and apply the activation."""
        if self.bias is not None:
            h = ops.add(h, self.bias)
        return self.activation(h)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "channels": self.channels,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
