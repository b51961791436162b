"""The largest values over the nodes of a graph."""

from typing import Any

import keras

from keras_ssl.layers.graph.edges import Edges
from keras_ssl.layers.graph.pool._node_pool import NodePool


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
