"""An LSTM over the neighbours of each node."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.connect import connect
from keras_ssl.layers.graph.conv._graph_conv import positive_integer
from keras_ssl.layers.graph.graph_layer import GraphLayer, shapes_of_inputs


@keras.saving.register_keras_serializable(package="keras_ssl")
class LSTMNeighbors(GraphLayer):
    r"""Read the neighbours of each node one after the other, and return what is held at the end.

        h_i = LSTM(x_j1, x_j2, ...)    with the neighbours j1, j2, ... of i

    The order of the neighbours matters: it is that of a list's edges, or of the columns of a
    matrix. Draw it at random from step to step, as the paper does, by shuffling the list. Nodes
    without neighbours get zeros. Weights of edges say which edges there are (0 is none).

    Args:
        units: number of features that a node has afterwards.
        max_neighbors: how many neighbours are read. Of a node that has more, the first ones. The
            sequences are of this length, so memory grows with it.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`. `a` as in `layers.graph.MessagePassing`.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` is `(nodes, nodes)` or
        `(batch, nodes, nodes)`, or an edge list.

    Output shape:
        `(..., nodes, units)`.

    Raises:
        ValueError: if `units` or `max_neighbors` is not a positive integer, or shapes do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import LSTMNeighbors
    >>> LSTMNeighbors(4, max_neighbors=2)([np.ones((3, 2)), np.ones((3, 3))]).shape
    TensorShape([3, 4])

    Reference:

    - [Hamilton et al., 2017](https://arxiv.org/abs/1706.02216), section 3.3
    """

    def __init__(self, units: int, max_neighbors: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = positive_integer("units", units)
        self.max_neighbors = positive_integer("max_neighbors", max_neighbors)
        self.lstm = keras.layers.LSTM(units, dtype=self.dtype_policy, name="lstm")

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.lstm.build((None, self.max_neighbors, features))

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        sent, is_sent = connect(x, a).from_first_senders(x, self.max_neighbors)
        is_sent = ops.broadcast_to(is_sent, ops.shape(sent)[:-1])
        held = self.lstm(
            ops.reshape(sent, (-1, self.max_neighbors, x.shape[-1])),
            mask=ops.reshape(is_sent, (-1, self.max_neighbors)),
        )
        return ops.reshape(held, (*ops.shape(x)[:-1], self.channels))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*shapes_of_inputs(input_shape)[0][:-1], self.channels)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.channels,
            "max_neighbors": self.max_neighbors,
        }
