"""The base of all layers that take nodes and their adjacency."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops.graph.edges import check_adjacency, check_edge_features
from keras_ssl.ops.graph.inputs import TakesGraphs
from keras_ssl.ops.graph.sparse import is_sparse, stored_values, with_values


class GraphLayer(TakesGraphs, keras.layers.Layer):
    """A layer that is called on `[x, a]` or `[x, a, e]`, in which each node gets new features.

    What such layers share: the check of shapes, the shape of the output, and masks of nodes, which
    pass through. Subclasses implement `build_nodes(features)`, `call`, and set `channels` if they
    change the number of features, and `takes_sparse_features` where `call` can do with them.

    Args:
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` where edges have features; or a `graphs.Graph`.

    Input shape:
        - `x`, features of the nodes: `(nodes, features)`, or `(batch, nodes, features)`.
        - `a`, the adjacency: see `layers.graph.MessagePassing`.
        - `e`, features of the edges: `(edges, features)` in the order of `a`'s edges, or of a dense
          `a` its shape and features.

    Output shape:
        `(..., nodes, channels)`.

    Raises:
        ValueError: if the shapes of features and adjacency do not fit one another.
    """

    channels: int | None = None
    takes_sparse_features = False

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        x, a, *e = shapes_of_inputs(input_shape)
        if len(e) > 1:
            raise ValueError(f"Expected `[x, a]` or `[x, a, e]`. Received: shapes {input_shape}")
        check_adjacency(x, a)
        if x[-1] is None:
            raise ValueError(
                f"The number of node features must be fixed. Received: features of shape {x}"
            )
        self.build_nodes(x[-1], *(shape[-1] for shape in e))

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        """Make the weights.

        Args:
            features: number of features of a node.
            edge_features: the same of an edge, where edges have features.
        """

    def split_inputs(self, inputs: Any) -> tuple[Any, Any, Any]:
        """Return node features, adjacency and features of edges, `None` where there are none.

        Keras casts floating input alone; a count of words or atoms in integers would make of every
        weight that it is multiplied with an integer too.

        Args:
            inputs: `[x, a]` or `[x, a, e]`.

        Returns:
            A tuple of three, features as floating numbers.

        Raises:
            ValueError: if `x` is sparse and the layer takes dense features alone, or `e` does not
                hold features of every edge.
        """
        x, a, *e = inputs
        if is_sparse(x) and not self.takes_sparse_features:
            raise ValueError(
                f"`{type(self).__name__}` takes dense features of nodes; a layer that projects "
                "them first, such as `GCNConv`, takes sparse ones. Received: a sparse tensor of "
                f"shape {tuple(x.shape)}"
            )
        x, *e = (floating(one, self.compute_dtype) for one in (x, *e))
        if not e:
            return x, a, None
        check_edge_features(x, a, e[0])
        return x, a, e[0]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        x = shapes_of_inputs(input_shape)[0]
        return (*x[:-1], self.channels or x[-1])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the nodes."""
        return previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask


def shapes_of_inputs(input_shape: Any) -> list[Any]:
    """Return the shapes of `[x, a, ...]` as tuples, of an edge list as a dictionary.

    Args:
        input_shape: nested shapes as Keras gives them.

    Returns:
        A list of at least two shapes.

    Raises:
        ValueError: if there are less than two.
    """
    is_one = not isinstance(input_shape, (list, tuple)) or any(
        size is None or isinstance(size, int) for size in input_shape
    )
    if is_one or len(input_shape) < 2:
        raise ValueError(
            "Layers on graphs are called on `[x, a]`, node features and adjacency. Received: "
            f"input of shape {input_shape}"
        )
    return [
        {key: tuple(one) for key, one in shape.items()} if isinstance(shape, dict) else tuple(shape)
        for shape in input_shape
    ]


def floating(x: Any, dtype: str) -> Any:
    """Return integers and booleans as numbers of a floating dtype, floating ones as they are.

    Args:
        x: dense or sparse tensor.
        dtype: the floating dtype.

    Returns:
        The tensor.
    """
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        return x
    if is_sparse(x) and not isinstance(x, keras.KerasTensor):
        return with_values(x, ops.cast(stored_values(x), dtype))
    return ops.cast(x, dtype)


def check_network(name: str, network: Any) -> None:
    """Raise unless a network is a Keras layer.

    Args:
        name: the argument's name.
        network: what it got.

    Raises:
        TypeError: if it is none.
    """
    if not isinstance(network, keras.layers.Layer):
        raise TypeError(
            f"`{name}` must be a Keras layer. Received: {network} of type {type(network)}"
        )


def build_network(network: keras.layers.Layer, features: int) -> int:
    """Make the weights of a network on rows of features.

    Args:
        network: the network.
        features: how many it gets.

    Returns:
        How many it gives.
    """
    if not network.built:
        network.build((None, features))
    return network.compute_output_shape((None, features))[-1]


def apply_to_edges(network: keras.layers.Layer, features: Any) -> Any:
    """Apply a network to the features of each edge.

    Networks of many layers are strict about the number of axes; they get one row an edge,
    whatever form the edges have.

    Args:
        network: a layer from `(rows, features)` to `(rows, channels)`.
        features: `(..., features)`.

    Returns:
        `(..., channels)`.
    """
    rows = network(ops.reshape(features, (-1, features.shape[-1])))
    return ops.reshape(rows, (*ops.shape(features)[:-1], rows.shape[-1]))
