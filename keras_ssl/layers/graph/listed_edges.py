"""The edges of a list, or of a sparse adjacency matrix."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.edges import Edges
from keras_ssl.layers.graph.sparse_product import multiply_nodes
from keras_ssl.layers.graph.sparse_tensors import (
    coordinates,
    is_sparse,
    stored_values,
    with_places,
    with_values,
)
from keras_ssl.layers.graph.widened import widened


class ListedEdges(Edges):
    """Edges one after the other; messages have the shape `(..., edges, features)`.

    Args:
        senders: `(edges,)` integers, the node that each edge comes from.
        receivers: the same for the node that it leads to.
        weights: `(edges,)`. An edge of weight 0 is none.
        nodes: how many nodes there are.
        matrix: the sparse matrix with these edges, where there is one.
    """

    def __init__(self, senders: Any, receivers: Any, weights: Any, nodes: Any, matrix: Any = None):
        self.senders = senders
        self.receivers = receivers
        self.weights = ops.expand_dims(weights, -1)
        self.exist = ops.not_equal(self.weights, 0)
        self.nodes = nodes
        self.matrix = matrix

    def from_senders(self, h: Any) -> Any:
        return ops.take(h, self.senders, axis=-2)

    def from_receivers(self, h: Any) -> Any:
        return ops.take(h, self.receivers, axis=-2)

    def from_first_senders(self, h: Any, count: int) -> tuple[Any, Any]:
        exist = self.exist[:, 0]
        receivers = ops.where(exist, ops.cast(self.receivers, "int32"), self.nodes)
        order = ops.argsort(receivers)  # keeps the order of edges to one node
        receivers = ops.take(receivers, order)
        received = ops.segment_sum(ops.cast(exist, "int32"), self.receivers, self.nodes)
        starts = ops.cumsum(received) - received
        rank = ops.arange(ops.shape(receivers)[0], dtype="int32") - ops.take(
            starts, ops.minimum(receivers, self.nodes - 1)
        )
        is_read = ops.logical_and(receivers < self.nodes, rank < count)
        place = ops.where(is_read, receivers * count + rank, self.nodes * count)
        # one edge a place, so that the sum only puts it there; 0 is left for nobody
        senders = ops.segment_sum(
            ops.take(ops.cast(self.senders, "int32"), order) + 1, place, self.nodes * count + 1
        )
        senders = ops.reshape(senders[:-1], (self.nodes, count))
        return ops.take(h, ops.maximum(senders - 1, 0), axis=-2), senders > 0

    def with_weights(self, weights: Any) -> "ListedEdges":
        weights = ops.squeeze(weights, -1)
        # weights that differ between examples (mixed mode) are not those of one matrix
        is_matrix = self.matrix is not None and len(weights.shape) == 1
        matrix = with_values(self.matrix, weights) if is_matrix else None
        return ListedEdges(self.senders, self.receivers, weights, self.nodes, matrix)

    def multiply(self, h: Any) -> Any:
        # sparse products are made for float32 alone
        if self.matrix is not None and keras.backend.standardize_dtype(h.dtype) == "float32":
            return multiply_nodes(self.matrix, h)
        return self._reduce_sum(ops.cast(self.weights, h.dtype) * self.from_senders(h))

    def multiply_by_heads(self, weights: Any, h: Any) -> Any:
        if self.matrix is not None:
            return super().multiply_by_heads(weights, h)
        # one sum over all heads takes half the time of one a head
        sent = self.from_senders(h)
        heads = weights.shape[-1]
        by_head = (*ops.shape(sent)[:-1], heads, sent.shape[-1] // heads)
        messages = ops.reshape(sent, by_head) * ops.cast(weights[..., None], h.dtype)
        return self._reduce_sum(ops.reshape(messages, ops.shape(sent)))

    def add_self_loops(self, e: Any = None) -> tuple[Edges, Any]:
        nodes = ops.arange(self.nodes, dtype=self.senders.dtype)
        missing = ops.cast(ops.equal(self.self_loops(), 0), self.weights.dtype)
        weights = ops.concatenate([self.weights, missing], axis=0)[:, 0]
        looped = ListedEdges(
            ops.concatenate([self.senders, nodes]),
            ops.concatenate([self.receivers, nodes]),
            weights,
            self.nodes,
        )
        if self.matrix is not None:
            places = ops.stack([looped.receivers, looped.senders], axis=1)
            looped.matrix = with_places(self.matrix, places, weights)
        if e is None:
            return looped, None
        added = ops.zeros((*ops.shape(e)[:-2], self.nodes, e.shape[-1]), e.dtype)
        return looped, ops.concatenate([e, added], axis=-2)

    def self_loops(self) -> Any:
        loops = ops.where(self.are_loops(), self.weights, ops.zeros_like(self.weights))
        return self._reduce_sum(loops)

    def are_loops(self) -> Any:
        return ops.expand_dims(ops.equal(self.senders, self.receivers), -1)

    def sum_to_senders(self, messages: Any) -> Any:
        back = ListedEdges(self.receivers, self.senders, self.weights[..., 0], self.nodes)
        return back.sum(messages)

    def _reduce_sum(self, messages: Any) -> Any:
        # numbers of half precision would be added up one by one, and large sums stand still
        return ops.cast(self._by_receiver(ops.segment_sum, widened(messages)), messages.dtype)

    def _reduce_max(self, messages: Any) -> Any:
        return self._by_receiver(ops.segment_max, messages)

    def _by_receiver(self, reduce: Any, messages: Any) -> Any:
        if len(messages.shape) == 2:
            return reduce(messages, self.receivers, num_segments=self.nodes)
        messages = ops.moveaxis(messages, -2, 0)
        return ops.moveaxis(reduce(messages, self.receivers, num_segments=self.nodes), 0, -2)


def listed_edges(a: Any, nodes: Any) -> ListedEdges:
    """Read the edges of a sparse matrix or of a dictionary.

    Args:
        a: sparse tensor, or dictionary of `senders`, `receivers` and `weights`.
        nodes: how many nodes there are.

    Returns:
        The edges.
    """
    if is_sparse(a):
        places, weights = coordinates(a), stored_values(a)
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(weights.dtype)):
            weights = ops.cast(weights, "float32")  # sparse products of integers there are none
            a = with_values(a, weights)
        return ListedEdges(places[:, 1], places[:, 0], weights, nodes, a)
    senders, receivers = a["senders"], a["receivers"]
    weights = a.get("weights")
    if weights is None:
        weights = ops.ones(ops.shape(senders), "float32")
    return ListedEdges(senders, receivers, weights, nodes)
