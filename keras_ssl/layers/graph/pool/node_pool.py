"""Pooling of nodes to graphs: the base, and the sum, mean and maximum."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops.graph.edges import Edges, widened
from keras_ssl.ops.graph.membership import check_nodes, membership


class NodePool(keras.layers.Layer):
    """A layer that makes one vector of all nodes of a graph.

    Subclasses implement `pool(x, members)`; `build_nodes(features)` where they have weights, and
    `output_channels(features)` where these are not the nodes'. All is computed in float32 or
    better. Of a graph without nodes the vector is 0.

    Args:
        graphs: how many graphs a disjoint union holds. Needed where shapes must be known, as for
            XLA; without it there are `max(i) + 1`. Other modes do not ask.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode: `i` is the graph of each node. Nodes whose `i`
            is negative, or not below `graphs`, are padding.
        mask: `True` where a row of `x` is a node and no padding; of the shape of `x` without its
            last axis.

    Input shape:
        `(nodes, features)` in single mode; `(batch, nodes, features)` in batch and mixed mode. In
        disjoint mode `i` is an integer vector of length `nodes`.

    Output shape:
        `(1, channels)` in single mode, `(batch, channels)` or `(graphs, channels)` otherwise.

    Raises:
        ValueError: if `graphs` is not a positive integer, or shapes do not fit.
        TypeError: if `i` does not hold integers.
    """

    def __init__(self, graphs: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.graphs = checks.integer("graphs", graphs, minimum=1, optional=True)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        x, i = shapes_of_nodes(input_shape)
        check_nodes(x, i)
        if i is not None and self.graphs is None:
            self.supports_jit = False  # the number of graphs depends on values
        self.build_nodes(x[-1])

    def build_nodes(self, features: int) -> None:
        """Make the weights.

        Args:
            features: number of features of a node.
        """

    def call(self, inputs: Any, mask: Any = None) -> Any:
        x, i = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        x, members = membership(widened(x), i, mask, self.graphs)
        return ops.cast(self.pool(x, members), self.compute_dtype)

    def pool(self, x: Any, members: Edges) -> Any:
        """Return one vector a graph.

        Args:
            x: features of the nodes, as messages of `members`.
            members: edges from each node to its graph, so that `members.sum(x)` is by graph, and
                `members.from_receivers(v)` gives each node the vector of its graph.

        Returns:
            `(graphs, channels)`.
        """
        raise NotImplementedError

    def output_channels(self, features: int | None) -> int | None:
        """Return how long the vectors are.

        Args:
            features: number of features of a node.

        Returns:
            The number of channels.
        """
        return features

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        x, i = shapes_of_nodes(input_shape)
        graphs = self.graphs if i is not None else x[0] if len(x) == 3 else 1
        return (graphs, self.output_channels(x[-1]))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: graphs are not padded."""
        return

    def get_config(self) -> dict:
        return {**super().get_config(), "graphs": self.graphs}


def shapes_of_nodes(input_shape: Any) -> tuple[tuple, tuple | None]:
    """Return the shapes of `x` and `i`, the latter `None` where there is no `i`.

    Args:
        input_shape: one shape or a list of two, as Keras gives them.

    Returns:
        A pair.

    Raises:
        ValueError: if there are more than two.
    """
    if all(size is None or isinstance(size, int) for size in input_shape):
        return tuple(input_shape), None
    if len(input_shape) != 2:
        raise ValueError(
            "Poolings of nodes are called on `x`, or on `[x, i]` in disjoint mode. "
            f"Received: inputs of shapes {input_shape}"
        )
    return tuple(input_shape[0]), tuple(input_shape[1])


@keras.saving.register_keras_serializable(package="keras_ssl")
class SumPool(NodePool):
    """Add up the nodes of each graph.

        h_G = sum_n x_n

    Unlike the mean it tells how many there are of a kind of node: what GIN reads out.

    Args:
        graphs: how many graphs a disjoint union holds. Needed where shapes must be known, as for
            XLA; without it there are `max(i) + 1`.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode: `i` is the graph of each node. Nodes whose `i`
            is negative, or not below `graphs`, are padding.
        mask: `True` where a row of `x` is a node and no padding.

    Input shape:
        `(nodes, features)` in single and disjoint mode, `(batch, nodes, features)` in batch and
        mixed mode.

    Output shape:
        `(1, features)`, `(graphs, features)`, `(batch, features)`.

    Raises:
        ValueError: if `graphs` is not a positive integer, or shapes do not fit.
        TypeError: if `i` does not hold integers.

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
    """Average the nodes of each graph.

        h_G = 1/|G| sum_n x_n

    Of a graph without nodes it is 0.

    Args:
        graphs: how many graphs a disjoint union holds. Needed where shapes must be known, as for
            XLA; without it there are `max(i) + 1`.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode: `i` is the graph of each node. Nodes whose `i`
            is negative, or not below `graphs`, are padding.
        mask: `True` where a row of `x` is a node and no padding.

    Input shape:
        `(nodes, features)` in single and disjoint mode, `(batch, nodes, features)` in batch and
        mixed mode.

    Output shape:
        `(1, features)`, `(graphs, features)`, `(batch, features)`.

    Raises:
        ValueError: if `graphs` is not a positive integer, or shapes do not fit.
        TypeError: if `i` does not hold integers.

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
    """Take the largest value over the nodes of each graph, by feature.

        h_G = max_n x_n

    Of a graph without nodes it is 0.

    Args:
        graphs: how many graphs a disjoint union holds. Needed where shapes must be known, as for
            XLA; without it there are `max(i) + 1`.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode: `i` is the graph of each node. Nodes whose `i`
            is negative, or not below `graphs`, are padding.
        mask: `True` where a row of `x` is a node and no padding.

    Input shape:
        `(nodes, features)` in single and disjoint mode, `(batch, nodes, features)` in batch and
        mixed mode.

    Output shape:
        `(1, features)`, `(graphs, features)`, `(batch, features)`.

    Raises:
        ValueError: if `graphs` is not a positive integer, or shapes do not fit.
        TypeError: if `i` does not hold integers.

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
