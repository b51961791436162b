"""The general graph layer, and the base of convolutions with dense kernels."""

import inspect
import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl._keras_internals import run_on_shapes
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.graph.graph_layer import GraphLayer, shapes_of_inputs
from keras_ssl.ops.graph.edges import Edges, connect, is_pair, target_nodes, weighted

# the edges over which a layer propagates messages
_edges: ContextVar[Edges] = ContextVar("edges")

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
    the adjacency. They may be written as those of Spektral as well: `message(x)`,
    `aggregate(messages)` and `update(embeddings)` with optional keyword arguments `a` and `e`, or
    further ones that a `call` of one's own gives to `propagate(x, a, e, ...)`. Within these,
    `get_sources(x)` and `get_targets(x)` (or `get_j` and `get_i`) return the features at either
    end of each edge. Here too, `a[i, j]` is an edge from j to i; Spektral's leads from i to j.

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
        **kwargs: `aggregate`, Spektral's name of `aggregation`; `activation`, which custom layers
            find as `self.activation`; `name`, `dtype` and other arguments of `keras.layers.Layer`.

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
        aggregation = kwargs.pop("aggregate", aggregation)
        activation = keras.activations.get(kwargs.pop("activation", None))
        super().__init__(**kwargs)
        self.activation = activation
        if aggregation not in self.aggregations:
            raise ValueError(
                f"`aggregation` must be one of {self.aggregations}. Received: {aggregation!r}"
            )
        self.aggregation = aggregation

    def call(self, inputs: Any) -> Any:
        x, a, e = self.split_inputs(inputs)
        return self.propagate(x, connect(x, a), e)

    def propagate(self, x: Any, a: Any, e: Any = None, **kwargs: Any) -> Any:
        """Return node features after one round of messages.

        Args:
            x: node features.
            a: the adjacency, or its `Edges`.
            e: edge features, or `None`.
            **kwargs: values for keyword arguments of `message`, `aggregate` and `update`.
        """
        edges = a if isinstance(a, Edges) else connect(x, a)
        is_product = type(self).message is MessagePassing.message and self.aggregation == "sum"
        token = _edges.set(edges)
        try:
            if is_product and type(self).aggregate is MessagePassing.aggregate:
                aggregated = edges.multiply(x)  # without materialising messages
            else:
                values = {"a": a, "edges": edges, "e": e, **kwargs}
                messages = _call(self.message, (x, edges, e), values)
                aggregated = _call(self.aggregate, (messages, edges), values)
            given = (target_nodes(x), aggregated)
            if _takes_edges(self.update):
                return self.update(*given)
            return _call(self.update, given[1:], {"a": a, "e": e, **kwargs})
        finally:
            _edges.reset(token)

    def get_inputs(self, inputs: Any) -> tuple[Any, Any, Any]:
        """Return `x`, `a` and `e` or `None`, as Spektral's layers do."""
        return self.split_inputs(inputs)

    def get_sources(self, x: Any) -> Any:
        """Return the features of each edge's sender, while messages are propagated."""
        return _of_each_edge(_edges.get().from_senders(x), x)

    def get_targets(self, x: Any) -> Any:
        """Return the features of each edge's receiver, while messages are propagated."""
        return _of_each_edge(_edges.get().from_receivers(x), x)

    get_j = get_sources
    get_i = get_targets

    def message(self, x: Any, edges: Edges | None = None, e: Any = None) -> Any:
        """Return the message of each edge.

        Args:
            x: node features, or the pair `[x_source, x_target]`.
            edges: `edges.from_senders(x)` is x_j of each edge, `edges.from_receivers(x)` is x_i,
                `edges.weights` is a_ij.
            e: edge features, or `None`.
        """
        edges = _edges.get() if edges is None else edges
        return weighted(edges.weights, edges.from_senders(x))

    def aggregate(self, messages: Any, edges: Edges | None = None) -> Any:
        """Return the aggregated messages of each node, `(..., nodes, features)`."""
        return getattr(_edges.get() if edges is None else edges, self.aggregation)(messages)

    def update(self, x: Any, aggregated: Any) -> Any:
        """Return the new node features `(..., nodes, channels)`, given the old ones."""
        return aggregated

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        shape = super().compute_output_shape(input_shape)
        if self.channels is not None or not self._is_custom():
            return shape
        # the width is what `call` says
        inputs = [self._specs(one) for one in _as_listed(shapes_of_inputs(input_shape))]
        return (*shape[:-1], run_on_shapes(self.call, inputs).shape[-1])

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self.channels is not None or not self._is_custom():
            return super().compute_output_spec(inputs, *args, **kwargs)
        return keras.Operation.compute_output_spec(self, inputs, *args, **kwargs)

    def _is_custom(self) -> bool:
        """Whether a subclass changes what is computed, and does not say of which shape it is."""
        own = type(self)
        names = ("call", "propagate", "message", "aggregate", "update")
        is_changed = any(getattr(own, name) is not getattr(MessagePassing, name) for name in names)
        return is_changed and own.compute_output_shape is MessagePassing.compute_output_shape

    def _specs(self, shape: Any) -> Any:
        if isinstance(shape, dict):
            return {
                name: keras.KerasTensor(one, "float32" if name == "weights" else "int32")
                for name, one in shape.items()
            }
        if is_pair(shape):
            return [keras.KerasTensor(one, self.compute_dtype) for one in shape]
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self) -> dict:
        config = {**super().get_config(), "aggregation": self.aggregation}
        if self.activation is None or self.activation is keras.activations.linear:
            return config
        return {**config, "activation": keras.activations.serialize(self.activation)}


class GraphConv(MessagePassing):
    """Base of graph convolutions: kernels, a bias and an activation, as in `keras.layers.Dense`.

    Subclasses create kernels by `add_kernel` and the bias by `add_bias`, and end with `finish`.

    Args:
        channels: number of output features.
        activation: activation function.
        use_bias: whether there is a bias.
        kernel_initializer: initializer of the kernels.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernels, or `None`.
        bias_regularizer: regularizer of the bias, or `None`.
        kernel_constraint: constraint of the kernels, or `None`.
        bias_constraint: constraint of the bias, or `None`.
        **kwargs: `name`, `dtype` and others, as of `MessagePassing`.
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


def _takes_edges(method: Callable) -> bool:
    """Whether a method requires several arguments: as here, and not as in Spektral."""
    required = [
        one
        for one in inspect.signature(method).parameters.values()
        if one.default is inspect.Parameter.empty
        and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    return len(required) > 1


def _call(method: Callable, arguments: tuple, values: dict[str, Any]) -> Any:
    """Call a method on all arguments, or on the first, and the values that it names."""
    if _takes_edges(method):
        return method(*arguments)
    names = list(inspect.signature(method).parameters)[1:]
    return method(arguments[0], **{name: values[name] for name in names if name in values})


def _of_each_edge(features: Any, x: Any) -> Any:
    """Repeat features of a dense adjacency, `(..., n, 1, f)` or `(..., 1, n, f)`, for each pair."""
    if len(features.shape) == len(x.shape):
        return features
    nodes = ops.shape(x)[-2]
    shape = (*ops.shape(x)[:-2], nodes, nodes, x.shape[-1])
    return ops.broadcast_to(features, shape)


def _as_listed(shapes: list[Any]) -> list[Any]:
    """Replace the shape of one matrix by that of an edge list: it may be that of a sparse one."""
    x, a, *e = shapes
    is_dense = isinstance(a, tuple) and (len(a) == 3 or (e and len(e[0]) > 2))
    if isinstance(a, dict) or is_dense:
        return shapes
    edges = (e[0][-2] if e else None,)
    return [x, {"senders": edges, "receivers": edges, "weights": edges}, *e]
