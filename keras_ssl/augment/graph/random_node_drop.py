"""Nodes dropped at random."""

from typing import Any

import keras
from keras import ops

from keras_ssl.augment import checks
from keras_ssl.augment.graph.graph_augmentation import GraphAugmentation
from keras_ssl.augment.graph.removed_nodes import remove_nodes
from keras_ssl.layers.graph.best_nodes import best_nodes
from keras_ssl.layers.graph.graph_inputs import GraphInputs
from keras_ssl.layers.graph.kept_edges import spec_of_kept_edges
from keras_ssl.layers.graph.membership import membership


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomNodeDrop(GraphAugmentation):
    """Drop a share of the nodes of each graph, chosen at random, with all their edges.

    Their rows stay: features are 0, edges weigh 0, and where the graph comes with `i` or `mask`,
    they become padding (`i` is -1, `mask` is `False`), which poolings leave out. Give a mask where
    a batch of graphs is pooled: without one, rows of zeros count as nodes.

    Args:
        rate: share of the nodes of a graph to drop, in [0, 1), rounded down to a whole number of
            them, so that every graph keeps a node.
        graphs: how many graphs a disjoint union holds. Needed where shapes must be known, as for
            XLA; without it there are `max(i) + 1`.
        seed: integer seed.
        **kwargs: `name` and the like of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a)` in any form and mode, and what may follow; see `GraphViews`. In mixed mode
            (a batch of features, one graph) `a` must be dense.
        training: whether to drop anything.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        As the input; in mixed mode `a` is `(batch, nodes, nodes)`.

    Raises:
        ValueError: when `rate` lies outside [0, 1), or shapes do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.augment.graph import RandomNodeDrop
    >>> ring = np.roll(np.eye(5), 1, axis=1) + np.roll(np.eye(5), -1, axis=1)
    >>> x, a = RandomNodeDrop(0.4, seed=0)((np.ones((5, 1)), ring))
    >>> x.numpy().ravel().tolist().count(0.0)
    2

    Reference:
        - [You et al., GraphCL](https://arxiv.org/abs/2010.13902)
    """

    def __init__(
        self, rate: float = 0.2, graphs: int | None = None, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(seed=seed, **kwargs)
        self.rate = checks.probability("rate", rate)
        if self.rate == 1:
            raise ValueError(f"`rate` must leave a node of each graph. Received: rate={rate}")
        self.graphs = None if graphs is None else checks.integer("graphs", graphs, 1)

    def change(self, graph: GraphInputs) -> GraphInputs:
        score = self.draw_for_nodes(self.uniform, graph)
        messages, members = membership(score, graph.i, graph.mask, self.graphs)
        keep = best_nodes(messages, members, 1 - self.rate)
        # padding stays what it is
        keep = ops.logical_or(keep, ops.logical_not(members.exist))
        return remove_nodes(graph, ops.reshape(keep, ops.shape(score)))

    def changed_spec(self, graph: GraphInputs) -> GraphInputs:
        return graph._replace(a=spec_of_kept_edges(graph.a, graph.x.shape[:-2]))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "graphs": self.graphs}
