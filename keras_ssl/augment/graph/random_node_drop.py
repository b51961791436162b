"""Random removal of nodes."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.graph.graph_augmentation import GraphAugmentation
from keras_ssl.ops.graph.edges import Edges, connect, keep_nodes, spec_of_kept_edges
from keras_ssl.ops.graph.inputs import GraphInputs
from keras_ssl.ops.graph.membership import best_nodes, membership
from keras_ssl.ops.graph.sparse import (
    coordinates,
    is_sparse,
    stored_values,
    with_values,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomNodeDrop(GraphAugmentation):
    """Drop a random share of the nodes of each graph, with all their edges.

    Dropped nodes keep their rows: features and edge weights are 0, and if the graph has `i` or
    `mask`, they become padding (`i` is -1, `mask` is `False`), which pooling layers leave out. If a
    batch of graphs is pooled, pass a mask: without one, rows of zeros count as nodes.

    Args:
        rate: share of the nodes of each graph to drop, in [0, 1), rounded down to a whole number,
            so that every graph keeps a node.
        graphs: number of graphs of a disjoint union, needed for static shapes (XLA). `None` for
            `max(i) + 1`.
        seed: integer seed.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a, ...)` in any form and mode, see `GraphAugmentation`. In mixed mode
            (a batch of features, one graph) `a` must be dense.
        training: whether to drop nodes.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        As the input; in mixed mode `a` is `(batch, nodes, nodes)`.

    Raises:
        ValueError: if `rate` is outside [0, 1), or shapes do not match.

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
        self.rate = checks.below_one("rate", rate)
        self.graphs = checks.integer("graphs", graphs, minimum=1, optional=True)

    def change(self, graph: GraphInputs) -> GraphInputs:
        score = self.draw_for_nodes(self.uniform, graph)
        messages, members = membership(score, graph.i, graph.mask, self.graphs)
        keep = best_nodes(messages, members, 1 - self.rate)
        # padding does not change
        keep = ops.logical_or(keep, ops.logical_not(members.exist))
        return _remove_nodes(graph, ops.reshape(keep, ops.shape(score)))

    def changed_spec(self, graph: GraphInputs) -> GraphInputs:
        return graph._replace(a=spec_of_kept_edges(graph.a, graph.x.shape[:-2]))

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "graphs": self.graphs}


_NEVER = 1e9


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomSubgraph(GraphAugmentation):
    """Keep a connected part of each graph, grown from a random node by random neighbors.

    Starting with a random node, nodes are chosen uniformly among those that receive from the nodes
    chosen before, until the share is reached or none is left. All others are dropped as by
    `RandomNodeDrop`.

    Instead of choosing one node at a time, each node v is reached a random time after the first of
    its senders:

        T(start) = 0,    T(v) = tau_v + min of T(u) over the senders u of v,    tau_v ~ Exp(1)

    Since the exponential distribution is memoryless, each waiting node is equally likely to be the
    next. T are shortest paths, computed in as many rounds over all edges as the longest path needs.

    Args:
        share: share of the nodes of each graph to keep, in (0, 1], rounded up to a whole number.
        graphs: number of graphs of a disjoint union, needed for static shapes (XLA). `None` for
            `max(i) + 1`.
        seed: integer seed.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a, ...)` in any form and mode, see `GraphAugmentation`. In mixed mode
            (a batch of features, one graph) `a` must be dense.
        training: whether to drop nodes.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        As the input; in mixed mode `a` is `(batch, nodes, nodes)`.

    Raises:
        ValueError: if `share` is outside (0, 1], or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.augment.graph import RandomSubgraph
    >>> path = np.eye(6, k=1) + np.eye(6, k=-1)
    >>> x, a = RandomSubgraph(0.5, seed=6)((np.ones((6, 1)), path))
    >>> x.numpy().ravel().tolist()
    [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]

    Reference:
        - [You et al., GraphCL](https://arxiv.org/abs/2010.13902)
    """

    def __init__(
        self, share: float = 0.8, graphs: int | None = None, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(seed=seed, **kwargs)
        self.share = checks.positive("share", share, maximum=1)
        self.graphs = checks.integer("graphs", graphs, minimum=1, optional=True)

    def change(self, graph: GraphInputs) -> GraphInputs:
        chance = self.draw_for_nodes(self.uniform, graph)
        waits = -ops.log(1 - self.draw_for_nodes(self.uniform, graph))
        messages, members = membership(chance, graph.i, graph.mask, self.graphs)
        starts = ops.reshape(best_nodes(messages, members, 1e-9), ops.shape(chance))
        times = _arrival_times(connect(graph.x, graph.a), starts, waits)
        early, _ = membership(-times, graph.i, graph.mask, self.graphs)
        keep = ops.logical_and(best_nodes(early, members, self.share), early > -_NEVER)
        # padding does not change
        keep = ops.logical_or(keep, ops.logical_not(members.exist))
        return _remove_nodes(graph, ops.reshape(keep, ops.shape(chance)))

    def changed_spec(self, graph: GraphInputs) -> GraphInputs:
        return graph._replace(a=spec_of_kept_edges(graph.a, graph.x.shape[:-2]))

    def get_config(self) -> dict:
        return {**super().get_config(), "share": self.share, "graphs": self.graphs}


def _arrival_times(edges: Edges, starts: Any, waits: Any) -> Any:
    """Return when each node is reached, or `_NEVER`.

    `starts` are booleans `(..., nodes, 1)`, the nodes reached at time 0, and `waits` the time from
    the first reached sender of a node to the node.
    """
    receives = edges.count() > 0

    def is_open(times: Any, changed: Any) -> Any:
        return changed

    def spread(times: Any, changed: Any) -> tuple[Any, Any]:
        first = edges.min(edges.from_senders(times))
        arrived = ops.where(receives, first + waits, _NEVER)
        sooner = ops.minimum(times, ops.minimum(arrived, _NEVER))
        return sooner, ops.any(sooner < times)

    times = ops.where(starts, 0.0, ops.full_like(waits, _NEVER))
    return ops.while_loop(is_open, spread, (times, ops.any(starts)))[0]


def _remove_nodes(graph: GraphInputs, keep: Any) -> GraphInputs:
    """Set features and edges of nodes to 0, and turn them into padding if there is `i` or `mask`.

    `keep` are booleans `(nodes, 1)` or `(batch, nodes, 1)`, `False` for the nodes to remove.
    """
    i, mask, kept = graph.i, graph.mask, ops.squeeze(keep, -1)
    if i is not None:
        i = ops.where(kept, i, ops.full_like(i, -1))
    if mask is not None:
        mask = ops.logical_and(mask, kept)
    x = _keep_rows(graph.x, keep)
    return graph._replace(x=x, a=keep_nodes(graph.x, graph.a, keep), i=i, mask=mask)


def _keep_rows(x: Any, keep: Any) -> Any:
    if not is_sparse(x):
        return ops.where(keep, x, ops.zeros_like(x))
    values = stored_values(x)
    kept = ops.take(keep[:, 0], coordinates(x)[:, 0])
    return with_values(x, ops.where(kept, values, ops.zeros_like(values)))
