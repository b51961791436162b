"""Pairs of nodes of a graph, and the cross entropy of predicting which of them are edges."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops.graph.edges import DenseEdges, Edges, connect
from keras_ssl.ops.graph.inputs import GraphInputs


class NodePairs:
    """Pairs (i, j) of nodes of the same graph, including i = j, with the logits `z_i · z_j`.

    Padded nodes form no pairs. A single graph or a union (disjoint mode) is a batch of one: methods
    return tensors of shape `(graphs,)`, which is `(1,)` for these.

    Args:
        graph: the graph.
        z: vectors of its nodes, `(..., nodes, dim)`.
    """

    def __init__(self, graph: GraphInputs, z: Any):
        z = ops.cast(z, keras.backend.result_type(z.dtype, "float32"))
        self.graph = graph
        self.z = ops.expand_dims(z, 0) if len(z.shape) == 2 else z
        self.nodes = self.z.shape[1] or ops.shape(self.z)[1]
        is_node = ops.ones(ops.shape(self.z)[:2], self.z.dtype)
        if graph.mask is not None:
            is_node = is_node * ops.cast(graph.mask, is_node.dtype)
        if graph.i is not None:
            is_node = is_node * ops.cast(graph.i >= 0, is_node.dtype)
        self.is_node = is_node

    def count(self) -> Any:
        """Return the number of pairs."""
        if self.graph.i is None:
            return ops.square(ops.sum(self.is_node, axis=1))
        return ops.sum(ops.square(self._sizes()), keepdims=True)

    def mean(self, values: Any) -> Any:
        """Return the sum of values of the nodes, `(..., nodes)`, divided by the number of pairs."""
        total = ops.sum(self.is_node * ops.reshape(values, ops.shape(self.is_node)), axis=1)
        return total / ops.maximum(self.count(), 1.0)

    def cross_entropy(self) -> Any:
        """Return the cross entropy of edges and other pairs, with the same weight for both kinds.

        All pairs are compared, so memory grows with the square of the number of nodes.
        """
        edges = connect(self.graph.x, self.graph.a)
        logits = ops.matmul(self.z, ops.swapaxes(self.z, 1, 2))
        no_edge_loss = ops.softplus(logits)  # -log(1 - p); subtracting the logit gives -log p
        are_pairs = self._are_pairs()
        if not isinstance(edges, DenseEdges):
            total = ops.sum(are_pairs * no_edge_loss, axis=(1, 2))
            return self._from_listed_edges(edges, total)
        loops = ops.eye(self.nodes, dtype="bool")
        are_edges = are_pairs * ops.cast(ops.logical_or(edges.exist[..., 0], loops), logits.dtype)
        are_others = are_pairs - are_edges
        edge_loss = ops.sum(are_edges * (no_edge_loss - logits), axis=(1, 2))
        other_loss = ops.sum(are_others * no_edge_loss, axis=(1, 2))
        return _balanced(
            edge_loss, ops.sum(are_edges, axis=(1, 2)), other_loss, ops.sum(are_others, axis=(1, 2))
        )

    def sampled_cross_entropy(self, per_edge: int, seed: keras.random.SeedGenerator) -> Any:
        """Return an unbiased estimate of `cross_entropy` from all edges and some random pairs.

        Memory grows with the number of edges. Random pairs estimate the sum over all pairs, from
        which the exact sum over the edges is subtracted. Raises a `ValueError` for a dense
        adjacency.

        Args:
            per_edge: number of random pairs for each edge that `a` lists.
            seed: generator that they are drawn from.
        """
        edges = connect(self.graph.x, self.graph.a)
        if isinstance(edges, DenseEdges):
            raise ValueError(
                "`negatives_per_edge` needs an adjacency that lists edges: a sparse tensor or an "
                "edge list. With a dense one, pass `negatives_per_edge=None`. "
                f"Received: a dense adjacency of shape {tuple(self.graph.a.shape)}"
            )
        drawn = per_edge * (edges.senders.shape[0] or ops.shape(edges.senders)[0])
        first, of_first, size = self._graph_of_node()
        uniform = keras.random.uniform((drawn, 2), seed=seed)
        senders = _below(self.nodes, uniform[:, 0])
        size = ops.take(size, senders)
        receivers = ops.take(first, ops.take(of_first, senders)) + _below(size, uniform[:, 1])
        receivers = ops.minimum(receivers, self.nodes - 1)
        # a pair is drawn with probability 1 / (nodes * size)
        weight = self._take(self.is_node, senders) * self._take(self.is_node, receivers)
        weight = weight * ops.cast(size, weight.dtype)
        mean = ops.mean(weight * ops.softplus(self._logits(senders, receivers)), axis=1)
        return self._from_listed_edges(edges, mean * ops.cast(self.nodes, mean.dtype))

    def _from_listed_edges(self, edges: Edges, total: Any) -> Any:
        """Return the cross entropy from listed edges and the sum of -log(1 - p) over all pairs."""
        are_edges = ops.logical_and(edges.exist, ops.logical_not(edges.are_loops()))
        are_edges = ops.cast(are_edges[:, 0], self.z.dtype) * self._take(
            self.is_node, edges.receivers
        )
        logits = self._logits(edges.senders, edges.receivers)
        # every node counts as joined to itself
        loops = ops.sum(ops.square(self.z), axis=-1)
        logits = ops.concatenate([logits, loops], axis=1)
        are_edges = ops.concatenate([are_edges, self.is_node], axis=1)
        no_edge_loss = ops.softplus(logits)
        edge_count = ops.sum(are_edges, axis=1)
        other_loss = total - ops.sum(are_edges * no_edge_loss, axis=1)
        edge_loss = ops.sum(are_edges * (no_edge_loss - logits), axis=1)
        return _balanced(edge_loss, edge_count, other_loss, self.count() - edge_count)

    def _are_pairs(self) -> Any:
        are_pairs = ops.expand_dims(self.is_node, 1) * ops.expand_dims(self.is_node, 2)
        i = self.graph.i
        if i is None:
            return are_pairs
        is_same = ops.equal(ops.expand_dims(i, 0), ops.expand_dims(i, 1))
        return are_pairs * ops.cast(is_same, are_pairs.dtype)

    def _graph_of_node(self) -> tuple[Any, Any, Any]:
        """Return the first node of each graph, the graph of each node, and the sizes of these."""
        i = self.graph.i
        if i is None:
            one = ops.zeros((self.nodes,), "int32")
            return ops.zeros((1,), "int32"), one, one + self.nodes
        i = ops.cast(ops.maximum(i, 0), "int32")
        sizes = ops.cast(self._sizes(), "int32")
        return ops.cumsum(sizes) - sizes, i, ops.take(sizes, i)

    def _sizes(self) -> Any:
        """Return the number of nodes of each graph of a union, without padding, then zeros."""
        i = ops.cast(ops.maximum(self.graph.i, 0), "int32")
        return ops.segment_sum(self.is_node[0], i, num_segments=self.nodes)

    def _logits(self, senders: Any, receivers: Any) -> Any:
        """Return the logits of some pairs, `(graphs, pairs)`."""
        return ops.sum(self._take(self.z, senders) * self._take(self.z, receivers), axis=-1)

    def _take(self, values: Any, numbers: Any) -> Any:
        return ops.take(values, numbers, axis=1)


def _balanced(edge_loss: Any, edges: Any, other_loss: Any, others: Any) -> Any:
    """Return the mean of the means over edges and over other pairs; an empty mean is 0."""
    other_loss = ops.where(others > 0, other_loss, 0.0)
    return 0.5 * (edge_loss / ops.maximum(edges, 1.0) + other_loss / ops.maximum(others, 1.0))


def _below(count: Any, uniform: Any) -> Any:
    """Convert numbers in [0, 1) to integers from 0 to `count - 1`."""
    drawn = ops.floor(uniform * ops.cast(count, uniform.dtype))
    # rounding may give `count`
    return ops.minimum(ops.cast(drawn, "int32"), ops.cast(count, "int32") - 1)
