"""Many graphs as a few long tensors, from which batches are gathered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_ssl.checks import integer
from keras_ssl.data.graph_tensors import graph_with_features
from keras_ssl.graphs.disjoint_union import check_alike, check_not_empty, several_graphs

if TYPE_CHECKING:
    import tensorflow as tf


class GatheredGraphs(NamedTuple):
    """Some graphs, node after node and edge after edge.

    Attributes:
        nodes: number of nodes of each graph, `(graphs,)`.
        x: features of all nodes, `(n, features)`.
        i: the graph of each node, `(n,)`.
        senders: the sender of each edge, counted within its graph, `(edges,)`.
        receivers: likewise the receivers.
        weights: weights of the edges, `(edges,)`.
        e: features of the edges, or `None`.
        edge_graph: the graph of each edge, `(edges,)`.
        y: labels of the graphs, `(graphs, ...)`, or `None`.
    """

    nodes: tf.Tensor
    x: tf.Tensor
    i: tf.Tensor
    senders: tf.Tensor
    receivers: tf.Tensor
    weights: tf.Tensor
    e: tf.Tensor | None
    edge_graph: tf.Tensor
    y: tf.Tensor | None


class GraphStore:
    """Graphs with labels of their own, ready to gather from.

    Args:
        graphs: graphs of any kind that `graphs.as_graph` takes, each with features `x`.

    Raises:
        TypeError: if they are one graph.
        ValueError: if there is none, one has no nodes or no features, or they do not fit each
            other.
    """

    def __init__(self, graphs: Iterable[Any]) -> None:
        import scipy.sparse
        import tensorflow as tf

        graphs = several_graphs(graphs)
        check_not_empty(graphs)
        graphs = [graph_with_features(graph, "graphs") for graph in graphs]
        check_alike(graphs)
        labels = [graph.y for graph in graphs]
        if len({None if y is None else y.shape for y in labels}) > 1:
            raise ValueError(
                "`graphs` must have labels of one shape each, a number or a vector a graph. "
                f"Received: y of shapes {sorted({y.shape for y in labels})[:5]}"
            )
        self.node_counts = np.array([graph.nodes for graph in graphs])
        self.edge_counts = np.array([graph.edges for graph in graphs])
        edges = [graph.a.tocoo() for graph in graphs]
        x = [g.x.toarray() if scipy.sparse.issparse(g.x) else g.x for g in graphs]
        self._x = tf.constant(np.concatenate(x))
        self._receivers = tf.constant(np.concatenate([a.row for a in edges]).astype(np.int32))
        self._senders = tf.constant(np.concatenate([a.col for a in edges]).astype(np.int32))
        self._weights = tf.constant(np.concatenate([a.data for a in edges]))
        has_e = graphs[0].e is not None
        self._e = tf.constant(np.concatenate([g.e for g in graphs])) if has_e else None
        self._y = None if labels[0] is None else tf.constant(np.stack(labels))
        self._node_ends = tf.constant(np.cumsum(self.node_counts))
        self._edge_ends = tf.constant(np.cumsum(self.edge_counts))
        self._nodes = tf.constant(self.node_counts)
        self._edges = tf.constant(self.edge_counts)

    def __len__(self) -> int:
        return len(self.node_counts)

    def gather(self, numbers: tf.Tensor) -> GatheredGraphs:
        """Return some of the graphs.

        Args:
            numbers: which ones, `(graphs,)`, integers.

        Returns:
            `GatheredGraphs`, in this order.
        """
        import tensorflow as tf

        nodes = tf.gather(self._nodes, numbers)
        edges = tf.gather(self._edges, numbers)
        node_ends = tf.gather(self._node_ends, numbers)
        edge_ends = tf.gather(self._edge_ends, numbers)
        node_rows = tf.ragged.range(node_ends - nodes, node_ends).values
        edge_rows = tf.ragged.range(edge_ends - edges, edge_ends).values
        order = tf.range(tf.size(numbers))
        return GatheredGraphs(
            nodes=tf.cast(nodes, tf.int32),
            x=tf.gather(self._x, node_rows),
            i=tf.repeat(order, nodes),
            senders=tf.gather(self._senders, edge_rows),
            receivers=tf.gather(self._receivers, edge_rows),
            weights=tf.gather(self._weights, edge_rows),
            e=None if self._e is None else tf.gather(self._e, edge_rows),
            edge_graph=tf.repeat(order, edges),
            y=None if self._y is None else tf.gather(self._y, numbers),
        )

    def batches(
        self, batch_size: int, shuffle: bool, seed: int | None, drop_remainder: bool
    ) -> tf.data.Dataset:
        """Return the numbers of the graphs of each batch.

        Args:
            batch_size: graphs a batch.
            shuffle: whether to shuffle before each epoch.
            seed: of the shuffling.
            drop_remainder: whether to leave out a last batch that is not full.

        Returns:
            `tf.data.Dataset` of vectors of integers.

        Raises:
            TypeError: if `batch_size` is no integer.
            ValueError: if `batch_size` is not positive, or larger than the number of graphs with
                `drop_remainder`.
        """
        import tensorflow as tf

        batch_size = integer("batch_size", batch_size, 1)
        if drop_remainder and batch_size > len(self):
            raise ValueError(
                f"`batch_size` must be at most the number of graphs, {len(self)}, with "
                f"`drop_remainder`. Received: batch_size={batch_size}"
            )
        numbers = tf.data.Dataset.range(len(self))
        if shuffle:
            numbers = numbers.shuffle(len(self), seed=seed)
        return numbers.batch(batch_size, drop_remainder=drop_remainder)
