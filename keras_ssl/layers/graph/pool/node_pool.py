"""Pooling of nodes to graphs: the base class, and sum, mean and maximum."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.graph.edges import Edges
from keras_ssl.ops.graph.membership import check_nodes, membership


class NodePool(keras.layers.Layer):
    """A layer that computes one vector per graph from the graph's nodes.

    Subclasses implement `pool(x, members)`, `build_nodes(features)` if they have weights, and
    `output_channels(features)` if these differ from the node features. Computation is in float32
    or better. The vector of a graph without nodes is 0.

    Args:
        graphs: number of graphs of a disjoint union, needed for static shapes (XLA, and always in
            training on JAX). `None` for `max(i) + 1`. Not used in other modes.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode, with the index of each node's graph. Nodes whose
            `i` is negative, or not below `graphs`, are padding.
        mask: `True` for nodes, `False` for padding; the shape of `x` without its last axis.

    Input shape:
        `(nodes, features)` in single mode; `(batch, nodes, features)` in batch and mixed mode. In
        disjoint mode `i` is an integer vector of length `nodes`.

    Output shape:
        `(1, channels)` in single mode, `(batch, channels)` or `(graphs, channels)` otherwise.

    Raises:
        ValueError: if `graphs` is not positive, or shapes do not match.
        TypeError: if `graphs` is not an integer, or `i` does not hold integers.
    """

    def __init__(self, graphs: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.graphs = checks.integer("graphs", graphs, minimum=1, optional=True)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        x, i = _shapes_of_nodes(input_shape)
        check_nodes(x, i)
        if i is not None and self.graphs is None:
            self.supports_jit = False  # the number of graphs depends on values
        self.build_nodes(x[-1])

    def build_nodes(self, features: int) -> None:
        """Create the weights for a number of node features."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        x, i = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        x, members = membership(at_least_float32(x), i, mask, self.graphs)
        return ops.cast(self.pool(x, members), self.compute_dtype)

    def pool(self, x: Any, members: Edges) -> Any:
        """Return one vector per graph, `(graphs, channels)`.

        Args:
            x: node features, as messages of `members`.
            members: edges from nodes to graphs: `members.sum(x)` is the sum per graph, and
                `members.from_receivers(v)` returns the vector of each node's graph.
        """
        raise NotImplementedError

    def is_graph(self, i: Any) -> Any:
        """Return booleans `(graphs,)`: which of the places for graphs of a union hold one."""
        _, members = membership(None, i, None, self.graphs)
        return ops.squeeze(members.count() > 0, -1)

    def output_channels(self, features: int | None) -> int | None:
        """Return the length of the vectors, given the number of node features."""
        return features

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        x, i = _shapes_of_nodes(input_shape)
        graphs = self.graphs if i is not None else x[0] if len(x) == 3 else 1
        return (graphs, self.output_channels(x[-1]))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: graphs are not padded."""
        return

    def get_config(self) -> dict:
        return {**super().get_config(), "graphs": self.graphs}


def _shapes_of_nodes(input_shape: Any) -> tuple[tuple, tuple | None]:
    """Return the shapes of `x` and `i`, the latter `None` if there is no `i`."""
    if all(size is None or isinstance(size, int) for size in input_shape):
        return tuple(input_shape), None
    if len(input_shape) != 2:
        raise ValueError(
            "Pooling layers are called on `x`, or on `[x, i]` in disjoint mode. "
            f"Received: inputs of shapes {input_shape}"
        )
    return tuple(input_shape[0]), tuple(input_shape[1])


@keras.saving.register_keras_serializable(package="keras_ssl")
class SumPool(NodePool):
    """Sum over the nodes of each graph, the readout of GIN.

        h_G = sum_n x_n

    Args:
        graphs: number of graphs of a disjoint union, needed for static shapes (XLA). `None` for
            `max(i) + 1`.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode, with the index of each node's graph. Nodes whose
            `i` is negative, or not below `graphs`, are padding.
        mask: `True` for nodes, `False` for padding.

    Input shape:
        `(nodes, features)` in single and disjoint mode, `(batch, nodes, features)` in batch and
        mixed mode.

    Output shape:
        `(1, features)`, `(graphs, features)`, `(batch, features)`.

    Raises:
        ValueError: if `graphs` is not positive, or shapes do not match.
        TypeError: if `graphs` is not an integer, or `i` does not hold integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import SumPool
    >>> x = np.array([[1.0, 0.0], [3.0, 4.0], [5.0, 6.0]])
    >>> SumPool()([x, np.array([0, 0, 1])]).numpy().tolist()
    [[4.0, 4.0], [5.0, 6.0]]

    Reference:
        - [Xu et al., 2019](https://arxiv.org/abs/1810.00826)
    """

    def pool(self, x: Any, members: Edges) -> Any:
        return members.sum(x)


@keras.saving.register_keras_serializable(package="keras_ssl")
class MeanPool(NodePool):
    """Mean over the nodes of each graph, 0 for a graph without nodes.

        h_G = 1/|G| sum_n x_n

    Args:
        graphs: as in `SumPool`, which also describes inputs, shapes and errors.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import MeanPool
    >>> x = np.array([[1.0, 0.0], [3.0, 4.0], [5.0, 6.0]])
    >>> MeanPool()([x, np.array([0, 0, 1])]).numpy().tolist()
    [[2.0, 2.0], [5.0, 6.0]]

    Reference:
        - [Xu et al., 2019](https://arxiv.org/abs/1810.00826)
    """

    def pool(self, x: Any, members: Edges) -> Any:
        return members.mean(x)


@keras.saving.register_keras_serializable(package="keras_ssl")
class MaxPool(NodePool):
    """Elementwise maximum over the nodes of each graph, 0 for a graph without nodes.

        h_G = max_n x_n

    Args:
        graphs: as in `SumPool`, which also describes inputs, shapes and errors.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import MaxPool
    >>> x = np.array([[1.0, 0.0], [3.0, 4.0], [5.0, 6.0]])
    >>> MaxPool()([x, np.array([0, 0, 1])]).numpy().tolist()
    [[3.0, 4.0], [5.0, 6.0]]

    Reference:
        - [Xu et al., 2019](https://arxiv.org/abs/1810.00826)
    """

    def pool(self, x: Any, members: Edges) -> Any:
        return members.max(x)
