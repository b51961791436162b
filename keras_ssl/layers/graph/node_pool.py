"""The base of poolings from nodes to graphs."""

import keras


class NodePool(keras.layers.Layer):
    """A layer that makes one vector of all nodes of a graph.

    Args:
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `x`, or `[x, i]` in disjoint mode.
        mask: `(batch, nodes)`, `True` where a row of `x` is a node and no padding.

    Input shape:
        `(nodes, features)` in single mode; `(batch, nodes, features)` in batch and mixed mode. In
        disjoint mode `i`, the graph of each node, is an integer vector of length `nodes`.

    Output shape:
        `(1, channels)` in single mode, `(batch, channels)` otherwise.
    """
