"""The general layer on graphs, and the base of convolutions with dense kernels."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.graph.graph_layer import GraphLayer
from keras_ssl.ops.graph.edges import Edges, connect

AGGREGATIONS = ("sum", "mean", "max", "min", "std")


@keras.saving.register_keras_serializable(package="keras_ssl")
class MessagePassing(GraphLayer):
    """Each node gets what its neighbours send, put together.

    For node i with neighbours j over edges of weight a_ij and features e_ij:

        m_ij = message(x_i, x_j, a_ij, e_ij)
        m_i  = aggregate of m_ij over j
        h_i  = update(x_i, m_i)

    As it is, a message is `a_ij x_j` and the update keeps what came. A layer of your own overrides
    `message`, `aggregate` or `update`. All forms and modes of the adjacency work then:

    | mode | `x` | `a` |
    |---|---|---|
    | single, disjoint | `(nodes, features)` | `(nodes, nodes)` dense or sparse, or an edge list |
    | batch | `(batch, nodes, features)` | `(batch, nodes, nodes)` dense |
    | mixed | `(batch, nodes, features)` | as in single mode: one graph for all examples |

    `a[i, j]` is the weight of the edge over which node i receives from node j. An edge of weight 0
    is no edge, so that a list of edges is padded to a fixed length, which XLA needs, by edges of
    weight 0 between any two nodes. Nodes without edges get zeros.

    Args:
        aggregation: how messages are put together: "sum", "mean", "max", "min" or "std".
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` where edges have features. `a` is a dense tensor, a sparse
            one, or an edge list: a dictionary of `senders` and `receivers` (integers) and
            `weights` (which may be missing), each of shape `(edges,)`.

    Input shape:
        As above; `e` is `(edges, edge_features)` in the order of the edges, or of a dense `a`
        its shape and `edge_features`.

    Output shape:
        `(..., nodes, channels)`.

    Raises:
        ValueError: if `aggregation` is unknown, or the shapes of `x` and `a` do not fit.

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

    # those that a layer can be asked for
    aggregations: tuple[str, ...] = AGGREGATIONS

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
        """Return what nodes are after one round of messages.

        Args:
            x: features of the nodes.
            edges: the edges between them.
            e: features of the edges, or `None`.

        Returns:
            New features of the nodes.
        """
        is_product = type(self).message is MessagePassing.message and self.aggregation == "sum"
        if is_product and type(self).aggregate is MessagePassing.aggregate:
            aggregated = edges.multiply(x)  # no message is ever laid out
        else:
            aggregated = self.aggregate(self.message(x, edges, e), edges)
        return self.update(x, aggregated)

    def message(self, x: Any, edges: Edges, e: Any = None) -> Any:
        """Return what goes over each edge.

        Args:
            x: features of the nodes.
            edges: `edges.from_senders(x)` are x_j, `edges.from_receivers(x)` x_i of each edge,
                `edges.weights` a_ij.
            e: features of the edges, or `None`.

        Returns:
            Messages.
        """
        return keras.ops.cast(edges.weights, x.dtype) * edges.from_senders(x)

    def aggregate(self, messages: Any, edges: Edges) -> Any:
        """Return what each node receives, put together.

        Args:
            messages: what `message` returned.
            edges: the edges.

        Returns:
            `(..., nodes, features)`.
        """
        return getattr(edges, self.aggregation)(messages)

    def update(self, x: Any, aggregated: Any) -> Any:
        """Return the new features of the nodes.

        Args:
            x: what they were.
            aggregated: what the nodes received.

        Returns:
            `(..., nodes, channels)`.
        """
        return aggregated

    def get_config(self) -> dict:
        return {**super().get_config(), "aggregation": self.aggregation}


class GraphConv(MessagePassing):
    """Base of convolutions on graphs: kernels, a bias and an activation, as `keras.layers.Dense`.

    Subclasses make kernels by `add_kernel`, the bias by `add_bias`, and end with `finish`.

    Args:
        channels: number of features that a node has afterwards.
        activation: activation function.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of the kernels.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernels.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the kernels.
        bias_constraint: constraint of the bias.
        **kwargs: `aggregation`; `name`, `dtype`, `activity_regularizer` and the like of
            `keras.layers.Layer`.

    Raises:
        ValueError: if `channels` is not a positive integer.
    """

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
        """Make a kernel; of an initializer with a seed, the n-th adds n - 1 to it.

        Args:
            shape: its shape.
            name: its name.

        Returns:
            The variable.
        """
        initializer = initializer_copy(self.kernel_initializer, self._kernels + 1)
        seed = getattr(self.kernel_initializer, "seed", None)
        if isinstance(seed, int):
            # one that was not given was drawn with the layer: not again here, at some later time
            initializer.seed = seed + self._kernels
        self._kernels += 1
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name=name,
        )

    def add_bias(self, width: int) -> None:
        """Make the bias, if there is one.

        Args:
            width: how many numbers it holds.
        """
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(width,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def finish(self, h: Any) -> Any:
        """Add the bias and apply the activation.

        Args:
            h: `(..., nodes, channels)`.

        Returns:
            The same shape.
        """
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
