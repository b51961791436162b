"""Layers on graphs, one after the other."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers.graph.graph_layer import GraphLayer, shapes_of_inputs
from keras_ssl.layers.graph.node_mask import NodeMask
from keras_ssl.layers.graph.pool.node_pool import NodePool
from keras_ssl.layers.graph.pool.top_k_pool import TopKPool
from keras_ssl.layers.graph.virtual_node import VirtualNode
from keras_ssl.ops.graph.inputs import TakesGraphs, read_graph


@keras.saving.register_keras_serializable(package="keras_ssl")
class GraphSequential(TakesGraphs, keras.Model):
    """Layers one after the other, those on graphs called with the adjacency.

    As `keras.Sequential`, for `[x, a]`: a graph layer is called on `[h, a]`, a pooling of nodes or
    a virtual node on `[h, i]` in disjoint mode, any other layer on `h`. One within another, such as
    an encoder before a pooling, gets `h` and all that follows `x` in the inputs. Nothing is fixed
    but the number of features: one network takes dense, sparse and listed edges, and graphs of any
    size.

    Args:
        layers: list of Keras layers.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        inputs: a `graphs.Graph`, or `[x, a]`, and after these, told apart by their dtype: features
            of the edges (floats), the graph of each node (integers, disjoint mode), and which rows
            are nodes and not padding (booleans, batch mode). Features of the edges are given to all
            layers on graphs.
        training: whether layers run in training mode.

    Input shape:
        As the layers.

    Output shape:
        That of the last layer.

    Raises:
        TypeError: if `layers` holds anything but Keras layers, or a `TopKPool`, which returns a
            graph.
        ValueError: if the inputs are not a list of `x`, `a` and, at most once each, the others.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.layers.graph import GCNConv, GraphSequential
    >>> model = GraphSequential(
    ...     [GCNConv(8, normalize=True, activation="relu"), keras.layers.Dropout(0.5), GCNConv(2)]
    ... )
    >>> model([np.ones((3, 4)), np.ones((3, 3))]).shape
    TensorShape([3, 2])
    """

    def __init__(self, layers: Sequence[keras.layers.Layer], **kwargs: Any):
        super().__init__(**kwargs)
        for layer in layers:
            if not isinstance(layer, keras.layers.Layer):
                raise TypeError(
                    f"`layers` must be Keras layers. Received: {layer} of type {type(layer)}"
                )
            if isinstance(layer, TopKPool):
                raise TypeError(
                    "`layers` must be layers that return features. `TopKPool` returns a graph and "
                    "is called by hand: `smaller = TopKPool()([x, a, ...])`, and another "
                    f"`GraphSequential` on `smaller`. Received: {layer}"
                )
        self.steps = list(layers)
        self.node_mask = NodeMask(name="node_mask")
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        self._walk(input_shape, build=True)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return self._walk(input_shape, build=False)

    def _walk(self, input_shape: Any, build: bool) -> tuple[int | None, ...]:
        """Follow the shape of the features through all layers."""
        x, a, *others = shapes_of_inputs(input_shape)
        is_batch = not isinstance(a, dict) and len(a) == 3
        # vectors name graphs; in batch mode a matrix is a mask, otherwise features of edges
        edges = [one for one in others if len(one) > (2 if is_batch else 1)]
        # in mixed mode it is a mask where it has the shape of one
        edges = [one for one in edges if len(x) == 2 or tuple(one) != tuple(x[:2])]
        for layer in self.steps:
            if isinstance(layer, GraphSequential):
                shape = [x, a, *others]
            else:
                shape = [x, a, *edges] if isinstance(layer, GraphLayer) else x
            if build and not layer.built:
                layer.build(shape)
            x = tuple(layer.compute_output_shape(shape))
        return x

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x, a, e, i, mask = read_graph(inputs)
        edges = [] if e is None else [e]
        if mask is not None:
            x = self.node_mask([x, mask])
        for layer in self.steps:
            if isinstance(layer, GraphSequential):
                x = layer([x, *inputs[1:]])
            elif isinstance(layer, GraphLayer):
                x = layer([x, a, *edges])
            elif isinstance(layer, (NodePool, VirtualNode)) and i is not None:
                x = layer([x, i])
            else:
                x = layer(x)
        return x

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Leave the mask to the layers, of which a pooling ends it."""

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.steps]
        return {**keras.layers.Layer.get_config(self), "layers": layers}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "GraphSequential":
        """Make the network that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))
