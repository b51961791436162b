"""A node that is linked to all nodes of its graph."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.graph_layer import build_network, check_network
from keras_ssl.ops.graph.edges import widened
from keras_ssl.ops.graph.membership import check_nodes, membership

AGGREGATIONS = ("sum", "mean")


@keras.saving.register_keras_serializable(package="keras_ssl")
class VirtualNode(keras.layers.Layer):
    r"""Let all nodes of a graph hear of one another through a virtual node, the master node.

        s_G = network(s_G + sum_n x_n),    h_n = x_n + s_G

    The sum is over the nodes of graph G, and s_G is the state of its virtual node, 0 at first. Put
    between two layers on graphs it spares messages the way along the edges. The next virtual node
    may go on with its state:

        h, state = VirtualNode(return_state=True)([h, i])
        h = GINConv(...)([h, a])
        h, state = VirtualNode(return_state=True)([h, i, state])

    Args:
        network: Keras layer from a state to the next, of as many features as a node has; `None`
            for two dense layers with ReLU, the first twice as wide.
        aggregation: how nodes are put together: "sum", or "mean" where graphs differ much in
            size.
        graphs: how many graphs a disjoint union holds. Needed where shapes must be known, as for
            XLA; without it there are `max(i) + 1`.
        return_state: whether to return the states beside the nodes.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode: `i` is the graph of each node. Nodes whose `i`
            is negative, or not below `graphs`, are padding. After these may come states of the
            virtual nodes, as an earlier layer returned them: `[x, i, state]`, `[x, state]`. No
            adjacency: every node is linked.
        mask: `True` where a row of `x` is a node and no padding. Padding stays as it is.

    Input shape:
        `(nodes, features)` in single and disjoint mode, `(batch, nodes, features)` in batch and
        mixed mode. `state` is `(1, features)`, `(graphs, features)`, `(batch, features)`.

    Output shape:
        That of `x`; with `return_state` a tuple of it and the shape of `state`.

    Raises:
        ValueError: if `aggregation` is unknown, `graphs` is not a positive integer, `network` gives
            another number of features, or shapes do not fit.
        TypeError: if `network` is no Keras layer, or `i` does not hold integers.

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
        if aggregation not in AGGREGATIONS:
            raise ValueError(
                f"`aggregation` must be one of {AGGREGATIONS}. Received: {aggregation!r}"
            )
        if network is not None:
            check_network("network", network)
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
        given = build_network(self.network, features)
        if given != features:
            raise ValueError(
                f"`network` must give as many features as a node has, {features}. Received: a "
                f"layer that gives {given}"
            )

    def call(self, inputs: Any, mask: Any = None) -> Any:
        x, *others = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        i = next((one for one in others if len(one.shape) == 1), None)
        state = next((one for one in others if len(one.shape) == 2), None)
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        nodes, members = membership(widened(x), i, mask, self.graphs)
        heard = members.mean(nodes) if self.aggregation == "mean" else members.sum(nodes)
        if state is not None:
            heard = heard + ops.cast(state, heard.dtype)
        state = self.network(heard)
        told = ops.where(members.exist, members.from_receivers(state), ops.zeros((), state.dtype))
        h = ops.reshape(nodes + ops.cast(told, nodes.dtype), ops.shape(x))
        h, state = (ops.cast(one, self.compute_dtype) for one in (h, state))
        return (h, state) if self.return_state else h

    def compute_output_shape(self, input_shape: Any) -> Any:
        x, i = _shapes(input_shape)
        graphs = self.graphs if i is not None else x[0] if len(x) == 3 else 1
        return (x, (graphs, x[-1])) if self.return_state else x

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the nodes."""
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
        """Make the layer that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _shapes(input_shape: Any) -> tuple[tuple, tuple | None]:
    """Shapes of `x` and `i`, the latter `None` where there is none; that of states is left out."""
    if all(size is None or isinstance(size, int) for size in input_shape):
        return tuple(input_shape), None
    x, *others = (tuple(shape) for shape in input_shape)
    ranks = [len(shape) for shape in others]
    if ranks not in ([], [1], [2], [1, 2]):
        raise ValueError(
            "A virtual node is called on `x`, or on `[x, i]` in disjoint mode, with states of "
            "shape (graphs, features) after these or without. Received: inputs of shapes "
            f"{input_shape}"
        )
    return x, others[0] if ranks[:1] == [1] else None
