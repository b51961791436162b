"""What each node counts in a mean over nodes of which some are padding."""

from typing import Any

from keras import ops

from keras_ssl.ops.graph.inputs import GraphInputs


def node_weights(graph: GraphInputs) -> Any:
    """Return weights with which the mean over all rows is the mean over the nodes of each graph.

    Args:
        graph: the graph.

    Returns:
        `(..., nodes)` in float32: 0 for padding, and the number of rows over that of nodes for
        the nodes of each graph, in disjoint mode of the union. `None` where all rows are nodes.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops.graph.inputs import GraphInputs
    >>> from keras_ssl.trainers.graph.node_weights import node_weights
    >>> mask = np.array([[True, True, False, False], [True, True, True, True]])
    >>> node_weights(GraphInputs(x=None, a=None, mask=mask)).numpy().tolist()
    [[2.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    """
    if graph.mask is None and graph.i is None:
        return None
    is_node = graph.i >= 0 if graph.mask is None else graph.mask
    return scaled_to_mean(ops.cast(is_node, "float32"))


def scaled_to_mean(weights: Any) -> Any:
    """Scale weights so that their mean over the last axis is 1; zeros stay zeros.

    Args:
        weights: tensor, none below 0.

    Returns:
        The same shape.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.trainers.graph.node_weights import scaled_to_mean
    >>> scaled_to_mean(np.array([1.0, 0.0, 0.0, 1.0])).numpy().tolist()
    [2.0, 0.0, 0.0, 2.0]
    """
    mean = ops.mean(weights, axis=-1, keepdims=True)
    return weights / ops.where(mean > 0, mean, ops.ones_like(mean))
