"""All pairs of nodes of a graph, and how well inner products tell which of them are edges."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops.graph.edges import DenseEdges, Edges, connect
from keras_ssl.ops.graph.inputs import GraphInputs


class NodePairs:
    """The pairs (i, j) of nodes of one graph, a node with itself included.

    Each pair has the logit `z_i · z_j`. Nodes of different graphs are no pair, and neither is
    padding. One graph, or a union of several (disjoint mode), is a batch of one here: what
    methods return has one row a graph in batch mode, else one row.

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
        """Return how many pairs there are, `(graphs,)`."""
        if self.graph.i is None:
            return ops.square(ops.sum(self.is_node, axis=1))
        return ops.sum(ops.square(self._sizes()), keepdims=True)

    def mean(self, of_nodes: Any) -> Any:
        """Return the sum of a number a node over the number of pairs, `(graphs,)`.

        Args:
            of_nodes: `(..., nodes)`.
        """
        total = ops.sum(self.is_node * ops.reshape(of_nodes, ops.shape(self.is_node)), axis=1)
        return total / ops.maximum(self.count(), 1.0)

    def cross_entropy(self) -> Any:
        """Return the cross entropy of edges and other pairs, both kinds weighing alike.

        All pairs are compared: memory grows with the square of the nodes.

        Returns:
            `(graphs,)`.
        """
        edges = connect(self.graph.x, self.graph.a)
        logits = ops.matmul(self.z, ops.swapaxes(self.z, 1, 2))
        if_none = ops.softplus(logits)  # -log(1 - p), and -log p is this less the logit
        are_pairs = self._are_pairs()
        if not isinstance(edges, DenseEdges):
            total = ops.sum(are_pairs * if_none, axis=(1, 2))
            return self._of_listed(edges, total)
        loops = ops.eye(self.nodes, dtype="bool")
        are_edges = are_pairs * ops.cast(ops.logical_or(edges.exist[..., 0], loops), logits.dtype)
        are_others = are_pairs - are_edges
        found = ops.sum(are_edges * (if_none - logits), axis=(1, 2))
        rejected = ops.sum(are_others * if_none, axis=(1, 2))
        return _balanced(
            found, ops.sum(are_edges, axis=(1, 2)), rejected, ops.sum(are_others, axis=(1, 2))
        )

    def sampled_cross_entropy(self, per_edge: int, seed: keras.random.SeedGenerator) -> Any:
        """Return an estimate of `cross_entropy` from all edges and some random pairs.

        Memory grows with the edges. The mean over all draws is `cross_entropy`: what random pairs
        hold of edges, by chance, is taken off as what all pairs hold of them, which is known.

        Args:
            per_edge: random pairs for each edge that `a` lists.
            seed: where they are drawn from.

        Returns:
            `(graphs,)`.

        Raises:
            ValueError: if the adjacency is dense.
        """
        edges = connect(self.graph.x, self.graph.a)
        if isinstance(edges, DenseEdges):
            raise ValueError(
                "`negatives_per_edge` needs an adjacency that lists edges: a sparse tensor or an "
                "edge list. A dense one is as large as all pairs: pass `negatives_per_edge=None`. "
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
        weight = self._at(self.is_node, senders) * self._at(self.is_node, receivers)
        weight = weight * ops.cast(size, weight.dtype)
        mean = ops.mean(weight * ops.softplus(self._logits(senders, receivers)), axis=1)
        return self._of_listed(edges, mean * ops.cast(self.nodes, mean.dtype))

    def _of_listed(self, edges: Edges, total: Any) -> Any:
        """The cross entropy of listed edges, given the sum of -log(1 - p) over all pairs."""
        are_edges = ops.logical_and(edges.exist, ops.logical_not(edges.are_loops()))
        are_edges = ops.cast(are_edges[:, 0], self.z.dtype) * self._at(
            self.is_node, edges.receivers
        )
        logits = self._logits(edges.senders, edges.receivers)
        # every node has an edge to itself, listed or not
        loops = ops.sum(ops.square(self.z), axis=-1)
        logits = ops.concatenate([logits, loops], axis=1)
        are_edges = ops.concatenate([are_edges, self.is_node], axis=1)
        if_none = ops.softplus(logits)
        edge_count = ops.sum(are_edges, axis=1)
        others = total - ops.sum(are_edges * if_none, axis=1)
        found = ops.sum(are_edges * (if_none - logits), axis=1)
        return _balanced(found, edge_count, others, self.count() - edge_count)

    def _are_pairs(self) -> Any:
        are_pairs = ops.expand_dims(self.is_node, 1) * ops.expand_dims(self.is_node, 2)
        i = self.graph.i
        if i is None:
            return are_pairs
        is_same = ops.equal(ops.expand_dims(i, 0), ops.expand_dims(i, 1))
        return are_pairs * ops.cast(is_same, are_pairs.dtype)

    def _graph_of_node(self) -> tuple[Any, Any, Any]:
        """The first node of each graph; of each node its graph and that graph's size."""
        i = self.graph.i
        if i is None:
            one = ops.zeros((self.nodes,), "int32")
            return ops.zeros((1,), "int32"), one, one + self.nodes
        i = ops.cast(ops.maximum(i, 0), "int32")
        sizes = ops.cast(self._sizes(), "int32")
        return ops.cumsum(sizes) - sizes, i, ops.take(sizes, i)

    def _sizes(self) -> Any:
        """How many nodes each graph of a union has, followed by zeros; padding is of none."""
        i = ops.cast(ops.maximum(self.graph.i, 0), "int32")
        return ops.segment_sum(self.is_node[0], i, num_segments=self.nodes)

    def _logits(self, senders: Any, receivers: Any) -> Any:
        """The logits of some pairs, `(graphs, pairs)`."""
        return ops.sum(self._at(self.z, senders) * self._at(self.z, receivers), axis=-1)

    def _at(self, of_nodes: Any, numbers: Any) -> Any:
        return ops.take(of_nodes, numbers, axis=1)


def _balanced(found: Any, edges: Any, rejected: Any, others: Any) -> Any:
    """The mean of the means over edges and over other pairs; 0 where there are none."""
    rejected = ops.where(others > 0, rejected, 0.0)
    return 0.5 * (found / ops.maximum(edges, 1.0) + rejected / ops.maximum(others, 1.0))


def _below(count: Any, uniform: Any) -> Any:
    """Integers from 0 to before `count`, from numbers in [0, 1)."""
    found = ops.floor(uniform * ops.cast(count, uniform.dtype))
    # rounding may reach the count itself
    return ops.minimum(ops.cast(found, "int32"), ops.cast(count, "int32") - 1)
