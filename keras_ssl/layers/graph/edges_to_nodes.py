"""Features of nodes out of those of the edges that lead to them."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.conv.message_passing import MessagePassing
from keras_ssl.layers.graph.edges import Edges
from keras_ssl.layers.graph.graph_layer import shapes_of_inputs


@keras.saving.register_keras_serializable(package="keras_ssl")
class EdgesToNodes(MessagePassing):
    """Give each node what the edges that lead to it hold, put together.

        h_i = aggregate of e_ij over the edges from j to i

    Weights say which edges there are and do not multiply. A node that nothing leads to gets 0.
    `NodesToEdges` is the way there.

    Args:
        aggregation: "sum", "mean", "max", "min" or "std".
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a, e]`; of `x`, the nodes, only the number counts. `a` as in
            `layers.graph.MessagePassing`.

    Input shape:
        `e` is `(edges, features)` in the order of an edge list or a sparse `a`, and
        `(nodes, nodes, features)` of a dense one; both may be one for each of a batch.

    Output shape:
        `(nodes, features)` or `(batch, nodes, features)`, as `x`; the features of `e`.

    Raises:
        ValueError: if `aggregation` is unknown, there is no `e`, or shapes do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import EdgesToNodes
    >>> a = {"senders": np.array([0, 2, 1]), "receivers": np.array([1, 1, 2])}
    >>> e = np.array([[1.0], [3.0], [5.0]])
    >>> EdgesToNodes("mean")([np.ones((3, 4)), a, e]).numpy().ravel().tolist()
    [0.0, 2.0, 5.0]

    Reference:

    - [Kipf et al., 2018](https://arxiv.org/abs/1802.04687)
    """

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        if edge_features is None:
            raise ValueError(
                "`EdgesToNodes` is called on `[x, a, e]`, the features of the edges last. "
                "Received: no features of edges"
            )

    def message(self, x: Any, edges: Edges, e: Any = None) -> Any:
        return e

    def update(self, x: Any, aggregated: Any) -> Any:
        return ops.broadcast_to(aggregated, (*ops.shape(x)[:-1], aggregated.shape[-1]))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        x, _, e = shapes_of_inputs(input_shape)
        return (*x[:-1], e[-1])
