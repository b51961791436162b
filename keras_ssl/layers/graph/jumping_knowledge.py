"""Concatenated outputs of several graph layers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.graph_layer import GraphLayer, shapes_of_inputs
from keras_ssl.layers.graph.node_mask import keep_mask


@keras.saving.register_keras_serializable(package="keras_ssl")
class JumpingKnowledge(GraphLayer):
    r"""A sequence of graph layers whose outputs are concatenated for each node.

        h_k = layer_k([h_{k-1}, a]),    h_0 = x
        output = [h_1, h_2, ..., h_K]    (preceded by h_0 with `include_input`)

    Early layers see a small neighborhood of each node, late ones a large one. Summed over the
    nodes, this is the readout of GIN; the node vectors are the patch representations of InfoGraph.

    Args:
        layers: list of graph layers.
        include_input: whether `x` is part of the output.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` with edge features, which all layers get.

    Input shape:
        As the layers.

    Output shape:
        `(..., nodes, channels)`, the sum of the layers' channels.

    Raises:
        TypeError: if `layers` holds anything but graph layers.
        ValueError: if `layers` is empty.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import GATConv, JumpingKnowledge
    >>> layer = JumpingKnowledge([GATConv(8), GATConv(4)], include_input=True)
    >>> layer([np.ones((3, 2)), np.ones((3, 3))]).shape
    TensorShape([3, 14])

    Reference:
        - [Xu et al., 2018](https://arxiv.org/abs/1806.03536)
    """

    def __init__(self, layers: Sequence[GraphLayer], include_input: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        for layer in layers:
            if not isinstance(layer, GraphLayer):
                raise TypeError(
                    f"`layers` must be graph layers. Received: {layer} of type {type(layer)}"
                )
        if not layers:
            raise ValueError("`layers` must not be empty. Received: layers=[]")
        self.steps = list(layers)
        self.include_input = bool(include_input)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        for layer, shape in zip(self.steps, self._shapes(input_shape), strict=False):
            if not layer.built:
                layer.build([shape, *shapes_of_inputs(input_shape)[1:]])

    def _shapes(self, input_shape: Any) -> Any:
        """Yield the shapes of h_0, h_1, ..., h_K."""
        h, *rest = shapes_of_inputs(input_shape)
        yield h
        for layer in self.steps:
            h = layer.compute_output_shape([h, *rest])
            yield h

    def call(self, inputs: Any) -> Any:
        h, *rest = inputs
        outputs = [h]
        for layer in self.steps:
            h = layer([keep_mask(h, layer), *rest])
            outputs.append(h)
        kept = outputs if self.include_input else outputs[1:]
        return ops.concatenate([ops.cast(one, self.compute_dtype) for one in kept], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        shapes = list(self._shapes(input_shape))
        kept = shapes if self.include_input else shapes[1:]
        return (*shapes[0][:-1], sum(shape[-1] for shape in kept))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "layers": [keras.saving.serialize_keras_object(layer) for layer in self.steps],
            "include_input": self.include_input,
        }
