"""Two views of a graph."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.ops.graph.inputs import TakesGraphs


@keras.saving.register_keras_serializable(package="keras_ssl")
class GraphViews(TakesGraphs, keras.layers.Layer):
    """Create two views of a graph, by one pipeline or by two.

    Graph augmentations keep shapes, so the same rows of both views are the same node.

    Args:
        first: layer, or list of layers applied in order, called as `layer(graph, training=...)`:
            graph augmentations or custom layers from a graph to a graph.
        second: the same for the second view; `None` for the layers of `first`, with other random
            numbers.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a, ...)` in any form and mode, see `GraphAugmentation`.
        training: whether to augment. With `False` graph augmentations return the graph unchanged.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        Tuple of two graphs, each as the input.

    Raises:
        TypeError: if a part of a pipeline is not a Keras layer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.augment import graph as augment
    >>> views = augment.GraphViews(
    ...     [augment.RandomEdgeDrop(0.2), augment.RandomFeatureMask(0.3)],
    ...     [augment.RandomEdgeDrop(0.4), augment.RandomFeatureMask(0.4)],
    ... )
    >>> (x1, a1), (x2, a2) = views((np.ones((5, 3)), np.ones((5, 5))))
    >>> x1.shape, a2.shape
    (TensorShape([5, 3]), TensorShape([5, 5]))

    Reference:
        - [Zhu et al., GRACE](https://arxiv.org/abs/2006.04131)
    """

    def __init__(
        self,
        first: keras.layers.Layer | Sequence[keras.layers.Layer],
        second: keras.layers.Layer | Sequence[keras.layers.Layer] | None = None,
        **kwargs: Any,
    ):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.first = _as_layers("first", first)
        self.second = None if second is None else _as_layers("second", second)

    def call(self, graph: Any, training: bool = True) -> tuple[Any, Any]:
        return tuple(
            _apply(layers, graph, training)
            for layers in (self.first, self.first if self.second is None else self.second)
        )

    def compute_output_spec(self, graph: Any, training: bool = True) -> tuple[Any, Any]:
        return self.call(graph, training=training)

    def get_config(self) -> dict:
        pipelines = {"first": self.first, "second": self.second}
        return {
            **super().get_config(),
            **{
                name: layers and [keras.saving.serialize_keras_object(layer) for layer in layers]
                for name, layers in pipelines.items()
            },
        }

    @classmethod
    def from_config(cls, config: dict) -> "GraphViews":
        """Create the layer from its config."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _as_layers(name: str, layers: Any) -> list[keras.layers.Layer]:
    layers = list(layers) if isinstance(layers, list | tuple) else [layers]
    for layer in layers:
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(
                f"`{name}` must hold Keras layers from a graph to a graph. Received: {layer!r} of "
                f"type {type(layer).__name__}"
            )
    return layers


def _apply(layers: list[keras.layers.Layer], graph: Any, training: bool) -> Any:
    for layer in layers:
        graph = layer(graph, training=training)
    return graph
