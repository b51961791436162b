"""Edge features from node features, and node features from edge features."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.conv.message_passing import MessagePassing
from keras_ssl.layers.graph.graph_layer import GraphLayer, shapes_of_inputs
from keras_ssl.ops.graph.edges import Edges, connect, target_nodes
from keras_ssl.ops.graph.sparse import is_sparse

_COMBINATIONS = {
    "concat": lambda receiver, sender: ops.concatenate([receiver, sender], axis=-1),
    "sum": ops.add,
    "mean": lambda receiver, sender: (receiver + sender) / 2,
    "max": ops.maximum,
    "product": ops.multiply,
}


@keras.saving.register_keras_serializable(package="keras_ssl")
class NodesToEdges(GraphLayer):
    """Compute edge features from the features of the two nodes of each edge.

        e_ij = [x_i, x_j],  x_i + x_j,  (x_i + x_j) / 2,  max(x_i, x_j)  or  x_i * x_j

    Node j is the sender, node i the receiver. All combinations but "concat" are symmetric. Where
    there is no edge (weight 0), the features are 0. `EdgesToNodes` goes the other way.

    Args:
        combination: "concat", "sum", "mean", "max" or "product".
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, see `layers.graph.MessagePassing`.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(edges, channels)` in the order of an edge list or a sparse `a`, `(nodes, nodes, channels)`
        for a dense `a`, with a batch axis in batch and mixed mode. Layers take it as `e`.

    Raises:
        ValueError: if `combination` is unknown, or the shapes of `x` and `a` do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import NodesToEdges
    >>> x = np.array([[1.0], [2.0], [4.0]])
    >>> a = {"senders": np.array([0, 1]), "receivers": np.array([1, 2])}
    >>> NodesToEdges()([x, a]).numpy().tolist()
    [[2.0, 1.0], [4.0, 2.0]]

    Reference:
        - [Kipf et al., 2018](https://arxiv.org/abs/1802.04687)
    """

    def __init__(self, combination: str = "concat", **kwargs: Any):
        super().__init__(**kwargs)
        if combination not in _COMBINATIONS:
            raise ValueError(
                f"`combination` must be one of {tuple(_COMBINATIONS)}. Received: {combination!r}"
            )
        self.combination = combination

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        edges = connect(x, a)
        receiver, sender = edges.from_receivers(x), edges.from_senders(x)
        shape = ops.shape(receiver + sender)
        receiver, sender = ops.broadcast_to(receiver, shape), ops.broadcast_to(sender, shape)
        e = _COMBINATIONS[self.combination](receiver, sender)
        return ops.where(edges.exist, e, ops.zeros_like(e))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        x, a = input_shape[:2]
        places = tuple(a["senders"] if isinstance(a, dict) else a[-2:])
        return (*x[:-2], *places, 2 * x[-1] if self.combination == "concat" else x[-1])

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        x, a, _ = self.split_inputs(inputs)
        if isinstance(a, dict):
            edges = {"senders": a["senders"].shape}
        else:  # the number of stored values of a sparse matrix is not known
            edges = {"senders": (None,)} if is_sparse(a) else a.shape
        return keras.KerasTensor(self.compute_output_shape([x.shape, edges]), self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: padded edges have features 0 and weight 0."""
        return

    def get_config(self) -> dict:
        return {**super().get_config(), "combination": self.combination}


@keras.saving.register_keras_serializable(package="keras_ssl")
class EdgesToNodes(MessagePassing):
    """Aggregate the features of the incoming edges of each node.

        h_i = aggregate of e_ij over the edges from j to i

    Edge weights do not scale the features; 0 means no edge. Nodes without incoming edges get 0.
    `NodesToEdges` goes the other way.

    Args:
        aggregation: "sum", "mean", "max", "min" or "std".
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a, e]`, see `layers.graph.MessagePassing`. Of `x` only the shape matters.

    Input shape:
        `e` is `(edges, features)` in the order of an edge list or a sparse `a`, or
        `(nodes, nodes, features)` for a dense `a`, with or without a batch axis.

    Output shape:
        `(nodes, features)` or `(batch, nodes, features)`, with the number of features of `e`.

    Raises:
        ValueError: if `aggregation` is unknown, `e` is missing, or shapes do not match.

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
                "`EdgesToNodes` must be called on `[x, a, e]`. Received: no edge features"
            )

    def message(self, x: Any, edges: Edges, e: Any = None) -> Any:
        return e

    def update(self, x: Any, aggregated: Any) -> Any:
        return ops.broadcast_to(aggregated, (*ops.shape(x)[:-1], aggregated.shape[-1]))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        x, _, e = shapes_of_inputs(input_shape)
        return (*target_nodes(x)[:-1], e[-1])
