"""Features and weights of nodes, as several methods on graphs need them."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.graph_layer import GraphLayer
from keras_ssl.layers.graph.node_mask import with_mask
from keras_ssl.ops.graph.inputs import GraphInputs, node_mask, read_graph


def as_rows(z: Any) -> Any:
    """Reshape vectors of nodes, `(..., nodes, dim)`, to `(all nodes, dim)`."""
    return ops.reshape(z, (-1, z.shape[-1]))


def call_on_nodes(layer: keras.layers.Layer, h: Any, graph: Any) -> Any:
    """Call a layer or model on a graph `(x, a, ...)` with features `h` in place of `x`.

    Layers on graphs get `[h, a]`, and edge features if there are any; models, such as
    `layers.graph.GraphSequential`, get all parts of the graph; any other layer gets `h`. Padding is
    masked, so that it is left out of batch statistics.
    """
    parts = read_graph(graph)
    h = with_mask(h, node_mask(parts), layer)
    if isinstance(layer, GraphLayer):
        return layer([h, parts.a] if parts.e is None else [h, parts.a, parts.e])
    if isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential):
        return layer([h, *graph[1:]])
    return layer(h)


def node_weights(graph: GraphInputs) -> Any:
    """Return float32 weights `(..., nodes)` that turn a mean over rows into one over nodes.

    Padded nodes have the weight 0. The mean is over the nodes of each graph, in disjoint mode over
    those of the union. `None` means that all rows are nodes.
    """
    is_node = node_mask(graph)
    return None if is_node is None else scaled_to_mean(ops.cast(is_node, "float32"))


def scaled_to_mean(weights: Any) -> Any:
    """Scale nonnegative weights so that their mean over the last axis is 1; zeros stay zeros."""
    mean = ops.mean(weights, axis=-1, keepdims=True)
    return weights / ops.where(mean > 0, mean, ops.ones_like(mean))
