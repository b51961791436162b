"""What a graph layer asks of the edges, whatever form the adjacency has."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.widened import widened


class Edges:
    """The edges of a graph: who sends to whom, and how what is sent is put together.

    A layer on graphs is written once, in terms of this: `from_senders(x)` and `from_receivers(x)`
    give the features at either end of each edge, *messages* are made of them, `sum`, `mean`, `max`,
    `min`, `std` and `softmax` put the messages together that a node receives. How messages are
    laid out differs between dense matrices and lists; their last axis holds features. Of a node
    without edges, all of these give 0.

    Attributes:
        weights: of each edge, shaped as a message of one feature.
        exist: the same as booleans: where there is an edge. An edge of weight 0 is none.
    """

    weights: Any
    exist: Any

    def from_senders(self, h: Any) -> Any:
        """Give each edge the features of the node that sends: `h` is `(..., nodes, features)`."""
        raise NotImplementedError

    def from_receivers(self, h: Any) -> Any:
        """Give each edge the features of the node that receives."""
        raise NotImplementedError

    def from_first_senders(self, h: Any, count: int) -> tuple[Any, Any]:
        """Return what the first senders of each node hold, in the order of the edges.

        Args:
            h: `(..., nodes, features)`.
            count: how many senders to look at.

        Returns:
            `(..., nodes, count, features)`, and the booleans `(..., nodes, count)`, or the same for
            all examples, that tell senders from what fills up.
        """
        raise NotImplementedError

    def with_weights(self, weights: Any) -> "Edges":
        """Return the same edges with other weights, shaped as messages of one feature."""
        raise NotImplementedError

    def multiply(self, h: Any) -> Any:
        """Return `A h`: for each node the weighted sum of what its senders hold."""
        raise NotImplementedError

    def multiply_by_heads(self, weights: Any, h: Any) -> Any:
        """Return `multiply` by several sets of weights, each for its share of the features.

        Args:
            weights: shaped as messages, one feature a head.
            h: `(..., nodes, heads * channels)`, of which each head gets `channels`.

        Returns:
            The shape of `h`.
        """
        heads = weights.shape[-1]
        parts = ops.split(h, heads, axis=-1)
        summed = [
            self.with_weights(weights[..., head : head + 1]).multiply(part)
            for head, part in enumerate(parts)
        ]
        return summed[0] if heads == 1 else ops.concatenate(summed, axis=-1)

    def add_self_loops(self, e: Any = None) -> tuple["Edges", Any]:
        """Return these edges and an edge of weight 1 from each node to itself that has none.

        Args:
            e: features of the edges, or `None`.

        Returns:
            The edges, and their features: 0 of those that were added.
        """
        raise NotImplementedError

    def self_loops(self) -> Any:
        """Return the weight of each node's edge to itself, `(..., nodes, 1)`; 0 without one."""
        raise NotImplementedError

    def are_loops(self) -> Any:
        """Return which edges lead from a node to itself, as booleans shaped as messages."""
        raise NotImplementedError

    def sum_to_senders(self, messages: Any) -> Any:
        """Return the sum of the messages that each node sends, `(..., nodes, features)`."""
        raise NotImplementedError

    def _reduce_sum(self, messages: Any) -> Any:
        """Sum messages by receiver, over all places."""
        raise NotImplementedError

    def _reduce_max(self, messages: Any) -> Any:
        """Take the largest message by receiver, over all places; anything where there is none."""
        raise NotImplementedError

    def count(self) -> Any:
        """Return how many edges lead to each node, `(..., nodes, 1)` in float32."""
        return self._reduce_sum(ops.cast(self.exist, "float32"))

    def degree(self) -> Any:
        """Return the summed weight of the edges that lead to each node, `(..., nodes, 1)`."""
        return self._reduce_sum(ops.cast(self.weights, "float32"))

    def sum(self, messages: Any) -> Any:
        """Return the sum of the messages that each node receives, `(..., nodes, features)`."""
        return self._reduce_sum(self._where_edges(messages, 0.0))

    def mean(self, messages: Any) -> Any:
        """Return the mean of the messages that each node receives."""
        wide = widened(messages)  # the sum may leave the range of half precision
        count = ops.cast(ops.maximum(self.count(), 1.0), wide.dtype)
        return ops.cast(self.sum(wide) / count, messages.dtype)

    def max(self, messages: Any) -> Any:
        """Return the largest of the messages that each node receives, by feature."""
        lowest = -6.5e4 if _is_float16(messages) else -1e30
        largest = self._reduce_max(self._where_edges(messages, lowest))
        return ops.where(self.count() > 0, largest, ops.zeros_like(largest))

    def min(self, messages: Any) -> Any:
        """Return the smallest of the messages that each node receives, by feature."""
        return -self.max(-messages)

    def std(self, messages: Any) -> Any:
        """Return the standard deviation of the messages that each node receives, by feature.

        Where all messages are equal it is 0, and so is its gradient.
        """
        wide = widened(messages)
        # of differences, since of squares the digits that matter are lost
        variance = self.mean(ops.square(wide - self.from_receivers(self.mean(wide))))
        is_zero = variance < 1e-12
        root = ops.sqrt(ops.where(is_zero, ops.ones_like(variance), variance))
        return ops.cast(ops.where(is_zero, ops.zeros_like(root), root), messages.dtype)

    def softmax(self, logits: Any) -> Any:
        """Return the softmax of logits over the edges that lead to a node; 0 where no edge is."""
        logits = ops.cast(logits, "float32")
        largest = ops.stop_gradient(self.max(logits))
        powers = ops.exp(self._where_edges(logits - self.from_receivers(largest), 0.0))
        powers = self._where_edges(powers, 0.0)
        total = ops.maximum(self._reduce_sum(powers), 1e-16)
        return powers / self.from_receivers(total)

    def _where_edges(self, messages: Any, other: float) -> Any:
        return ops.where(self.exist, messages, ops.cast(other, messages.dtype))


def _is_float16(x: Any) -> bool:
    return keras.backend.standardize_dtype(x.dtype) == "float16"
