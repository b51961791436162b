"""A sequence of layers on a graph."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.layers.graph.graph_layer import GraphLayer, check_layer, shapes_of_inputs
from keras_ssl.layers.graph.node_mask import NodeMask
from keras_ssl.layers.graph.pool.min_cut_pool import MinCutPool
from keras_ssl.layers.graph.pool.node_pool import NodePool
from keras_ssl.layers.graph.pool.top_k_pool import TopKPool
from keras_ssl.layers.graph.virtual_node import VirtualNode
from keras_ssl.ops.graph.edges import is_pair
from keras_ssl.ops.graph.inputs import TakesGraphs, read_graph


@keras.saving.register_keras_serializable(package="keras_ssl")
class GraphSequential(TakesGraphs, keras.Model):
    """`keras.Sequential` for graphs: graph layers are called with the adjacency.

    A graph layer is called on `[h, a]`, a pooling layer or a virtual node on `[h, i]` in disjoint
    mode, any other layer on `h`. A nested `GraphSequential`, such as an encoder before a pooling
    layer, gets `h` and all inputs after `x`. Only the number of features is fixed: the same network
    takes dense and sparse adjacencies, edge lists, and graphs of any size.

    Args:
        layers: list of Keras layers.
        **kwargs: `name` and `dtype` of the model.

    Call arguments:
        inputs: a `graphs.Graph`, or `[x, a]`, optionally followed by edge features (floats), the
            index of each node's graph (integers, disjoint mode) and the node mask (booleans, batch
            mode), which are distinguished by dtype. All graph layers get the edge features.
        training: whether layers run in training mode.

    Input shape:
        As the layers.

    Output shape:
        That of the last layer.

    Raises:
        TypeError: if `layers` holds anything but Keras layers, or a `TopKPool` or `MinCutPool`,
            which return a graph.
        ValueError: if the inputs are not `x`, `a` and, at most once each, the others.

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
        for number, layer in enumerate(layers):
            check_layer(f"layers[{number}]", layer)
            if isinstance(layer, (MinCutPool, TopKPool)):
                name = type(layer).__name__
                raise TypeError(
                    f"`layers` must return features. `{name}` returns a graph: call it by hand, "
                    f"`smaller = {name}(...)([x, a, ...])`, and another `GraphSequential` on "
                    f"`smaller`. Received: {layer}"
                )
        self.steps = list(layers)
        self.node_mask = NodeMask(name="node_mask")
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        self._walk(input_shape, build=True)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return self._walk(input_shape, build=False)

    def _walk(self, input_shape: Any, build: bool) -> tuple[int | None, ...]:
        """Return the output shape, and build the layers on the way if asked to."""
        x, a, *others = shapes_of_inputs(input_shape)
        if is_pair(x):
            raise ValueError(
                "`GraphSequential` takes one set of nodes, since its second graph layer would need "
                "another adjacency. Call the layers of a bipartite graph by hand. Received: "
                f"features of shapes {x}"
            )
        is_batch = not isinstance(a, dict) and len(a) == 3
        # a vector is `i`; a matrix is the mask in batch mode, otherwise edge features
        edges = [one for one in others if len(one) > (2 if is_batch else 1)]
        # in mixed mode a matrix is the mask if it has its shape
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
        """Return `None`: the layers pass the mask on among themselves."""

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.steps]
        return {**keras.layers.Layer.get_config(self), "layers": layers}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "GraphSequential":
        """Create the network from its config."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))
