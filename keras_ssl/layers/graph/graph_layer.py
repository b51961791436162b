"""The base of all layers that take nodes and their adjacency."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.node_mask import with_mask
from keras_ssl.ops.graph.edges import (
    check_adjacency,
    check_edge_features,
    is_pair,
    source_nodes,
    target_nodes,
)
from keras_ssl.ops.graph.inputs import TakesGraphs
from keras_ssl.ops.graph.sparse import is_sparse, stored_values, with_values


class GraphLayer(TakesGraphs, keras.layers.Layer):
    """A layer called on `[x, a]` or `[x, a, e]` that computes new features for each node.

    It checks shapes, computes the output shape and passes node masks through. Subclasses implement
    `build_nodes(features, edge_features)` and `call`. They set `channels` if they change the
    number of features, `takes_sparse_features` if `call` supports them, and `takes_bipartite` if
    it supports `[x_source, x_target]` in the place of `x`.

    Args:
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` with edge features; or a `graphs.Graph`.

    Input shape:
        - `x`, node features: `(nodes, features)`, or `(batch, nodes, features)`.
        - `a`, the adjacency: see `layers.graph.MessagePassing`.
        - `e`, edge features: `(edges, features)` in the order of the edges of `a`, or
          `(..., nodes, nodes, features)` for a dense `a`.

    Output shape:
        `(..., nodes, channels)`.

    Raises:
        ValueError: if the shapes of features and adjacency do not match.
    """

    channels: int | None = None
    takes_sparse_features = False
    takes_bipartite = False

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        x, a, *e = shapes_of_inputs(input_shape)
        if len(e) > 1:
            raise ValueError(f"Expected `[x, a]` or `[x, a, e]`. Received: shapes {input_shape}")
        if is_pair(x) and not self.takes_bipartite:
            raise ValueError(
                f"`{type(self).__name__}` takes one set of nodes, `[x, a]`; a bipartite graph, "
                "`[[x_source, x_target], a]`, goes into `MessagePassing`, `GraphSAGEConv`, "
                f"`GATConv`, `GATv2Conv` and `GINConv`. Received: features of shapes {x}"
            )
        check_adjacency(x, a)
        if any(shape[-1] is None for shape in (source_nodes(x), target_nodes(x))):
            raise ValueError(
                f"The number of node features must be known. Received: features of shape {x}"
            )
        self.is_bipartite = is_pair(x)
        features = tuple(shape[-1] for shape in x) if self.is_bipartite else x[-1]
        self.build_nodes(features, *(shape[-1] for shape in e))

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        """Create the weights for a number of node features and, if there are any, edge features.

        For a bipartite graph `features` is a pair of numbers, of sources and of targets.
        """

    def split_inputs(self, inputs: Any) -> tuple[Any, Any, Any]:
        """Return node features, adjacency and edge features (or `None`), features as floats.

        Keras casts only floating-point inputs. Integer features must be cast here, since products
        with them would cast weights to integers. Edge features come in float32 at least.
        """
        x, a, *e = inputs
        sides = [source_nodes(x), target_nodes(x)] if is_pair(x) else [x]
        for side in sides:
            if is_sparse(side) and not self.takes_sparse_features:
                raise ValueError(
                    f"`{type(self).__name__}` needs dense node features. A layer that projects "
                    "them first, such as `GCNConv`, takes sparse ones. Received: a sparse tensor "
                    f"of shape {tuple(side.shape)}"
                )
        sides = [floating(side, self.compute_dtype) for side in sides]
        x = sides if is_pair(x) else sides[0]
        e = [ops.cast(one, self.compute_dtype) for one in e]
        if not e:
            return x, a, None
        check_edge_features(x, a, e[0])
        return x, a, e[0]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        x = shapes_of_inputs(input_shape)[0]
        return (*target_nodes(x)[:-1], self.channels or source_nodes(x)[-1])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the node mask."""
        return mask_of_nodes(previous_mask)

    @classmethod
    def from_config(cls, config: dict) -> "GraphLayer":
        """Create the layer from its config, with the layers in it."""
        return cls(**keras.saving.deserialize_keras_object(config))


def mask_of_nodes(mask: Any) -> Any:
    """Return the mask of the nodes that receive, of the masks of `[x, a, ...]`."""
    first = mask[0] if isinstance(mask, (list, tuple)) else mask
    return first[1] if isinstance(first, (list, tuple)) else first


def shapes_of_inputs(input_shape: Any) -> list[Any]:
    """Return the shapes of `[x, a, ...]` as tuples.

    The shape of an edge list is a dictionary, that of the features of a bipartite graph a list.
    """
    is_one = not isinstance(input_shape, (list, tuple)) or any(
        size is None or isinstance(size, int) for size in input_shape
    )
    if is_one or len(input_shape) < 2:
        raise ValueError(
            "Graph layers are called on `[x, a]`, node features and adjacency. Received: "
            f"input of shape {input_shape}"
        )
    return [_as_tuples(shape) for shape in input_shape]


def _as_tuples(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {key: tuple(one) for key, one in shape.items()}
    if any(isinstance(one, (list, tuple)) for one in shape):
        return [tuple(one) for one in shape]
    return tuple(shape)


def floating(x: Any, dtype: str) -> Any:
    """Cast a dense or sparse tensor of integers or booleans to a floating-point dtype."""
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        return x
    if is_sparse(x) and not isinstance(x, keras.KerasTensor):
        return with_values(x, ops.cast(stored_values(x), dtype))
    return ops.cast(x, dtype)


def check_layer(name: str, layer: Any) -> None:
    """Check that an argument is a Keras layer."""
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(f"`{name}` must be a Keras layer. Received: {layer} of type {type(layer)}")


def build_network(network: keras.layers.Layer, features: int) -> int:
    """Build a network on `(rows, features)`, and return the number of its output features."""
    if not network.built:
        network.build((None, features))
    return network.compute_output_shape((None, features))[-1]


def apply_to_edges(network: keras.layers.Layer, features: Any, exist: Any = None) -> Any:
    """Apply a network built on `(rows, features)` to `(..., features)`.

    Places without an edge, by `Edges.exist`, are masked, for the network's batch statistics.
    """
    rows = ops.reshape(features, (-1, features.shape[-1]))
    if exist is not None:
        exist = ops.squeeze(exist, -1)
        if len(exist.shape) > len(features.shape) - 1:  # features that all graphs share
            exist = ops.any(exist, axis=0)
        exist = ops.broadcast_to(exist, ops.shape(features)[:-1])
        rows = with_mask(rows, ops.reshape(exist, (-1,)), network)
    rows = network(rows)
    return ops.reshape(rows, (*ops.shape(features)[:-1], rows.shape[-1]))
