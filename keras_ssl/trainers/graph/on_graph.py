"""Call a part of a trainer on nodes that an encoder has given new features."""

from typing import Any

import keras

from keras_ssl.layers.graph.graph_layer import GraphLayer
from keras_ssl.ops.graph.inputs import read_graph


def on_graph(layer: keras.layers.Layer, h: Any, graph: Any) -> Any:
    """Call a layer or model on the nodes of a graph, with new features `h` in place of `x`.

    Layers on graphs get `[h, a]`, and edge features where there are some; models, such as
    `layers.graph.GraphSequential`, all parts of the graph; any other layer, `h`.

    Args:
        layer: the layer or model.
        h: features of the nodes.
        graph: `(x, a, ...)`.

    Returns:
        What the layer gives.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.layers.graph import GCNConv
    >>> from keras_ssl.trainers.graph.on_graph import on_graph
    >>> graph = (np.ones((5, 4)), np.ones((5, 5)))
    >>> on_graph(GCNConv(2), np.ones((5, 3)), graph).shape
    TensorShape([5, 2])
    >>> on_graph(keras.layers.Dense(2), np.ones((5, 3)), graph).shape
    TensorShape([5, 2])
    """
    if isinstance(layer, GraphLayer):
        parts = read_graph(graph)
        return layer([h, parts.a] if parts.e is None else [h, parts.a, parts.e])
    if isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential):
        return layer([h, *graph[1:]])
    return layer(h)
