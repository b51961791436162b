"""The edges of a dense adjacency matrix."""

from typing import Any

from keras import ops

from keras_ssl.layers.graph.edges import Edges


class DenseEdges(Edges):
    """The edges of a matrix `(n, n)`, or of one a graph, `(batch, n, n)`.

    Messages have the shape `(..., n, n, features)`: what node i (third axis from the end) receives
    from node j (second from the end). Places where the matrix is 0 hold no edge.
    """

    def __init__(self, a: Any):
        self.a = a
        self.weights = ops.expand_dims(a, -1)
        self.exist = ops.not_equal(self.weights, 0)

    def from_senders(self, h: Any) -> Any:
        return ops.expand_dims(h, -3)

    def from_receivers(self, h: Any) -> Any:
        return ops.expand_dims(h, -2)

    def from_first_senders(self, h: Any, count: int) -> tuple[Any, Any]:
        nodes = ops.shape(self.a)[-1]
        columns = ops.arange(nodes, dtype="int32")
        senders = ops.sort(ops.where(self.exist[..., 0], columns, nodes), axis=-1)
        missing = [(0, 0)] * (len(senders.shape) - 1) + [(0, count)]
        senders = ops.pad(senders, missing, constant_values=nodes)[..., :count]
        is_sender = senders < nodes
        senders = ops.where(is_sender, senders, 0)
        if len(senders.shape) == 2:
            return ops.take(h, senders, axis=-2), is_sender
        # senders of all graphs of the batch in one list
        first = ops.arange(ops.shape(h)[0], dtype="int32")[:, None, None] * nodes
        return ops.take(ops.reshape(h, (-1, h.shape[-1])), first + senders, axis=0), is_sender

    def with_weights(self, weights: Any) -> "DenseEdges":
        return DenseEdges(ops.squeeze(weights, -1))

    def multiply(self, h: Any) -> Any:
        return ops.matmul(ops.cast(self.a, h.dtype), h)

    def add_self_loops(self, e: Any = None) -> tuple[Edges, Any]:
        missing = ops.logical_and(self.are_loops(), ops.logical_not(self.exist))
        looped = self.with_weights(ops.where(missing, ops.ones_like(self.weights), self.weights))
        return looped, None if e is None else self._where_edges(e, 0.0)

    def self_loops(self) -> Any:
        return ops.expand_dims(ops.diagonal(self.a, axis1=-2, axis2=-1), -1)

    def are_loops(self) -> Any:
        return ops.cast(
            ops.expand_dims(ops.eye(self.a.shape[-1] or ops.shape(self.a)[-1]), -1), "bool"
        )

    def sum_to_senders(self, messages: Any) -> Any:
        return ops.sum(self._where_edges(messages, 0.0), axis=-3)

    def _reduce_sum(self, messages: Any) -> Any:
        return ops.sum(messages, axis=-2)

    def _reduce_max(self, messages: Any) -> Any:
        return ops.max(messages, axis=-2)
