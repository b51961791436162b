"""A virtual node connected to all nodes of its graph."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.graph_layer import build_network, check_layer
from keras_ssl.layers.graph.node_mask import with_mask
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.graph.membership import check_nodes, membership

_AGGREGATIONS = ("sum", "mean")


@keras.saving.register_keras_serializable(package="keras_ssl")
class VirtualNode(keras.layers.Layer):
    r"""Exchange information between all nodes of a graph through a virtual (master) node.

        s_G = network(s_G + sum_n x_n),    h_n = x_n + s_G

    The sum is over the nodes of graph G, and s_G is the state of its virtual node, initially 0.
    Placed between two graph layers, it connects nodes that are far apart. The next virtual node may
    continue from its state:

        h, state = VirtualNode(return_state=True)([h, i])
        h = GINConv(...)([h, a])
        h, state = VirtualNode(return_state=True)([h, i, state])

    Args:
        network: Keras layer from one state to the next, with as many features as the nodes; `None`
            for two dense layers with ReLU, the first twice as wide.
        aggregation: "sum" over the nodes, or "mean" if the sizes of the graphs differ widely.
        graphs: number of graphs of a disjoint union, needed for static shapes (XLA). `None` for
            `max(i) + 1`.
        return_state: whether to return the states as well.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode, with the index of each node's graph. Nodes whose
            `i` is negative, or not below `graphs`, are padding. The states that an earlier layer
            returned may follow: `[x, i, state]`, `[x, state]`. There is no adjacency.
        mask: `True` for nodes, `False` for padding, which does not change.

    Input shape:
        `(nodes, features)` in single and disjoint mode, `(batch, nodes, features)` in batch and
        mixed mode. `state` is `(1, features)`, `(graphs, features)`, `(batch, features)`.

    Output shape:
        That of `x`; with `return_state` a tuple of it and the shape of `state`.

    Raises:
        ValueError: if `aggregation` is unknown, `graphs` is not positive, `network` returns another
            number of features, or shapes do not match.
        TypeError: if `network` is not a Keras layer, or `i` does not hold integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import VirtualNode
    >>> x, i = np.ones((5, 4)), np.array([0, 0, 0, 1, 1])
    >>> h, state = VirtualNode(return_state=True)([x, i])
    >>> h.shape, state.shape
    (TensorShape([5, 4]), TensorShape([2, 4]))

    Reference:
        - [Gilmer et al., 2017](https://arxiv.org/abs/1704.01212)
        - [Hu et al., 2021](https://arxiv.org/abs/2103.09430)
    """

    def __init__(
        self,
        network: keras.layers.Layer | None = None,
        aggregation: str = "sum",
        graphs: int | None = None,
        return_state: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if aggregation not in _AGGREGATIONS:
            raise ValueError(
                f"`aggregation` must be one of {_AGGREGATIONS}. Received: {aggregation!r}"
            )
        if network is not None:
            check_layer("network", network)
        self.given_network = network
        self.network = network
        self.aggregation = aggregation
        self.graphs = checks.integer("graphs", graphs, minimum=1, optional=True)
        self.return_state = bool(return_state)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        x, i = _shapes(input_shape)
        check_nodes(x, i)
        if i is not None and self.graphs is None:
            self.supports_jit = False  # the number of graphs depends on values
        features = x[-1]
        if self.network is None:
            self.network = keras.Sequential(
                [
                    keras.layers.Dense(width, "relu", dtype=self.dtype_policy)
                    for width in (2 * features, features)
                ],
                name="network",
            )
        received = build_network(self.network, features)
        if received != features:
            raise ValueError(
                f"`network` must return as many features as the nodes have, {features}. Received: "
                f"a layer that returns {received}"
            )

    def call(self, inputs: Any, mask: Any = None) -> Any:
        x, *others = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        i = next((one for one in others if len(one.shape) == 1), None)
        state = next((one for one in others if len(one.shape) == 2), None)
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        nodes, members = membership(at_least_float32(x), i, mask, self.graphs)
        received = members.mean(nodes) if self.aggregation == "mean" else members.sum(nodes)
        if state is not None:
            received = received + ops.cast(state, received.dtype)
        is_graph = None if i is None and mask is None else members.count()[..., 0] > 0
        is_graph = None if is_graph is None else ops.reshape(is_graph, ops.shape(received)[:-1])
        state = self.network(with_mask(received, is_graph, self.network))
        sent = ops.where(members.exist, members.from_receivers(state), ops.zeros((), state.dtype))
        h = ops.reshape(nodes + ops.cast(sent, nodes.dtype), ops.shape(x))
        h, state = (ops.cast(one, self.compute_dtype) for one in (h, state))
        return (h, state) if self.return_state else h

    def compute_output_shape(self, input_shape: Any) -> Any:
        x, i = _shapes(input_shape)
        graphs = self.graphs if i is not None else x[0] if len(x) == 3 else 1
        return (x, (graphs, x[-1])) if self.return_state else x

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the node mask."""
        is_list = isinstance(previous_mask, (list, tuple))
        mask = previous_mask[0] if is_list else previous_mask
        return (mask, None) if self.return_state else mask

    def get_config(self) -> dict:
        network = self.given_network
        return {
            **super().get_config(),
            "network": network and keras.saving.serialize_keras_object(network),
            "aggregation": self.aggregation,
            "graphs": self.graphs,
            "return_state": self.return_state,
        }

    @classmethod
    def from_config(cls, config: dict) -> "VirtualNode":
        """Create the layer from its config."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _shapes(input_shape: Any) -> tuple[tuple, tuple | None]:
    """Return the shapes of `x` and `i` (or `None`), without that of the states."""
    if all(size is None or isinstance(size, int) for size in input_shape):
        return tuple(input_shape), None
    x, *others = (tuple(shape) for shape in input_shape)
    ranks = [len(shape) for shape in others]
    if ranks not in ([], [1], [2], [1, 2]):
        raise ValueError(
            "A virtual node is called on `x`, or on `[x, i]` in disjoint mode, optionally followed "
            "by states of shape (graphs, features). Received: inputs of shapes "
            f"{input_shape}"
        )
    return x, others[0] if ranks[:1] == [1] else None
