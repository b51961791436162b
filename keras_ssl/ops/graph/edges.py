"""The edges of a graph, whatever the form of its adjacency."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops import at_least_float32
from keras_ssl.ops.graph.sparse import (
    check_rank,
    coordinates,
    is_sparse,
    multiply_nodes,
    stored_values,
    with_places,
    with_values,
)


class Edges:
    """The edges of a graph, and the aggregation of messages sent over them.

    Graph layers are written once in terms of this class: `from_senders(x)` and `from_receivers(x)`
    return the features at either end of each edge, *messages* are computed from them, and `sum`,
    `mean`, `max`, `min`, `std` and `softmax` aggregate the messages that each node receives. The
    layout of messages differs between dense matrices and edge lists; features are on the last
    axis. All aggregations are 0 for a node without edges.

    In a bipartite graph edges lead from sources to targets. Features of the nodes are then a pair
    `[sources, targets]`, of which `from_senders` and `multiply` take the first and
    `from_receivers` the second.

    Attributes:
        weights: weights of the edges, shaped like messages with one feature.
        exist: booleans of the same shape, `True` where there is an edge. A weight of 0 means that
            there is no edge.
    """

    weights: Any
    exist: Any

    def from_senders(self, h: Any) -> Any:
        """Return the features of each edge's sender, given those of the nodes."""
        raise NotImplementedError

    def from_receivers(self, h: Any) -> Any:
        """Return the features of each edge's receiver, given those of the nodes."""
        raise NotImplementedError

    def from_first_senders(self, h: Any, count: int) -> tuple[Any, Any]:
        """Return the features of the first `count` senders of each node, in the order of the edges.

        Args:
            h: `(..., nodes, features)`.
            count: number of senders per node.

        Returns:
            Features `(..., nodes, count, features)`, and booleans `(..., nodes, count)` that are
            `False` for padding. The booleans may lack the batch axis.
        """
        raise NotImplementedError

    def with_weights(self, weights: Any) -> "Edges":
        """Return the same edges with other weights, shaped like messages with one feature."""
        raise NotImplementedError

    def multiply(self, h: Any) -> Any:
        """Return `A h`, the weighted sum of the senders' features for each node."""
        raise NotImplementedError

    def multiply_by_heads(self, weights: Any, h: Any) -> Any:
        """Apply `multiply` per head, each with its own weights and its own features.

        Args:
            weights: shaped like messages, with one feature per head.
            h: `(..., nodes, heads * channels)`.

        Returns:
            Tensor of the shape of `h`.
        """
        heads = weights.shape[-1]
        parts = ops.split(h, heads, axis=-1)
        summed = [
            self.with_weights(weights[..., head : head + 1]).multiply(part)
            for head, part in enumerate(parts)
        ]
        return summed[0] if heads == 1 else ops.concatenate(summed, axis=-1)

    def add_self_loops(self, e: Any = None) -> tuple["Edges", Any]:
        """Add a self-loop of weight 1 to each node that has none.

        Returns:
            The edges, and their features given the features `e`: zeros for added self-loops.
        """
        raise NotImplementedError

    def self_loops(self) -> Any:
        """Return the weight of each node's self-loop, `(..., nodes, 1)`, 0 if it has none."""
        raise NotImplementedError

    def are_loops(self) -> Any:
        """Return booleans shaped like messages: whether an edge is a self-loop."""
        raise NotImplementedError

    def sum_to_senders(self, messages: Any) -> Any:
        """Return the sum of the messages that each node sends, `(..., nodes, features)`."""
        raise NotImplementedError

    def reverse(self) -> "Edges":
        """Return the edges in the opposite direction, those of the transposed adjacency."""
        raise NotImplementedError

    def _reduce_sum(self, messages: Any) -> Any:
        """Sum messages by receiver, including positions without an edge."""
        raise NotImplementedError

    def _reduce_max(self, messages: Any) -> Any:
        """Return the maximum by receiver; undefined for receivers without any position."""
        raise NotImplementedError

    def count(self) -> Any:
        """Return the number of incoming edges of each node, `(..., nodes, 1)`.

        Degrees and counts are float32, or float64 as the weights.
        """
        return self._reduce_sum(ops.cast(self.exist, at_least_float32(self.weights).dtype))

    def degree(self) -> Any:
        """Return the summed weight of the incoming edges of each node, `(..., nodes, 1)`."""
        return self._reduce_sum(at_least_float32(self.weights))

    def sum(self, messages: Any) -> Any:
        """Return the sum of the messages that each node receives, `(..., nodes, features)`."""
        return self._reduce_sum(self._where_edges(messages, 0.0))

    def mean(self, messages: Any) -> Any:
        """Return the mean of the messages that each node receives."""
        wide = at_least_float32(messages)  # the sum may overflow in half precision
        count = ops.cast(ops.maximum(self.count(), 1.0), wide.dtype)
        return ops.cast(self.sum(wide) / count, messages.dtype)

    def max(self, messages: Any) -> Any:
        """Return the elementwise maximum of the messages that each node receives."""
        is_float16 = keras.backend.standardize_dtype(messages.dtype) == "float16"
        largest = self._reduce_max(self._where_edges(messages, -6.5e4 if is_float16 else -1e30))
        return ops.where(self.count() > 0, largest, ops.zeros_like(largest))

    def min(self, messages: Any) -> Any:
        """Return the elementwise minimum of the messages that each node receives."""
        return -self.max(-messages)

    def std(self, messages: Any) -> Any:
        """Return the elementwise standard deviation of the messages that each node receives.

        Where all messages are equal, it is 0 and so is its gradient.
        """
        wide = at_least_float32(messages)
        # the difference of E[x²] and E[x]² would lose precision
        variance = self.mean(ops.square(wide - self.from_receivers(self.mean(wide))))
        is_zero = variance < 1e-12
        root = ops.sqrt(ops.where(is_zero, ops.ones_like(variance), variance))
        return ops.cast(ops.where(is_zero, ops.zeros_like(root), root), messages.dtype)

    def softmax(self, logits: Any) -> Any:
        """Return the softmax over each node's incoming edges; 0 where there is no edge."""
        logits = at_least_float32(logits)
        largest = ops.stop_gradient(self.max(logits))
        powers = ops.exp(self._where_edges(logits - self.from_receivers(largest), 0.0))
        powers = self._where_edges(powers, 0.0)
        total = ops.maximum(self._reduce_sum(powers), 1e-16)
        return powers / self.from_receivers(total)

    def _where_edges(self, messages: Any, other: float) -> Any:
        return ops.where(self.exist, messages, ops.cast(other, messages.dtype))


class DenseEdges(Edges):
    """The edges of a dense adjacency `(n, n)` or `(batch, n, n)`.

    Messages have shape `(..., n, n, features)`: receivers on the third to last axis, senders on
    the second to last.

    Args:
        a: the adjacency.
    """

    def __init__(self, a: Any):
        self.a = a
        self.weights = ops.expand_dims(a, -1)
        self.exist = ops.not_equal(self.weights, 0)

    def from_senders(self, h: Any) -> Any:
        return ops.expand_dims(source_nodes(h), -3)

    def from_receivers(self, h: Any) -> Any:
        return ops.expand_dims(target_nodes(h), -2)

    def from_first_senders(self, h: Any, count: int) -> tuple[Any, Any]:
        h = source_nodes(h)
        nodes = ops.shape(self.a)[-1]
        columns = ops.arange(nodes, dtype="int32")
        senders = ops.sort(ops.where(self.exist[..., 0], columns, nodes), axis=-1)
        missing = [(0, 0)] * (len(senders.shape) - 1) + [(0, count)]
        senders = ops.pad(senders, missing, constant_values=nodes)[..., :count]
        is_sender = senders < nodes
        senders = ops.where(is_sender, senders, 0)
        if len(senders.shape) == 2:
            return ops.take(h, senders, axis=-2), is_sender
        # gather from all graphs of the batch at once
        first = ops.arange(ops.shape(h)[0], dtype="int32")[:, None, None] * nodes
        return ops.take(ops.reshape(h, (-1, h.shape[-1])), first + senders, axis=0), is_sender

    def with_weights(self, weights: Any) -> "DenseEdges":
        return DenseEdges(ops.squeeze(weights, -1))

    def multiply(self, h: Any) -> Any:
        h = source_nodes(h)
        dtype = dtype_of_products(self.a, h)
        return ops.cast(ops.matmul(ops.cast(self.a, dtype), ops.cast(h, dtype)), h.dtype)

    def add_self_loops(self, e: Any = None) -> tuple[Edges, Any]:
        missing = ops.logical_and(self.are_loops(), ops.logical_not(self.exist))
        looped = self.with_weights(ops.where(missing, ops.ones_like(self.weights), self.weights))
        return looped, None if e is None else self._where_edges(e, 0.0)

    def self_loops(self) -> Any:
        return ops.expand_dims(ops.diagonal(self.a, axis1=-2, axis2=-1), -1)

    def are_loops(self) -> Any:
        nodes = self.a.shape[-1] or ops.shape(self.a)[-1]
        return ops.cast(ops.expand_dims(ops.eye(nodes), -1), "bool")

    def sum_to_senders(self, messages: Any) -> Any:
        return ops.sum(self._where_edges(messages, 0.0), axis=-3)

    def reverse(self) -> "DenseEdges":
        return DenseEdges(ops.swapaxes(self.a, -1, -2))

    def _reduce_sum(self, messages: Any) -> Any:
        return ops.sum(messages, axis=-2)

    def _reduce_max(self, messages: Any) -> Any:
        return ops.max(messages, axis=-2)


class ListedEdges(Edges):
    """The edges of a sparse adjacency or an edge list; messages are `(..., edges, features)`.

    Args:
        senders: `(edges,)` integers.
        receivers: `(edges,)` integers.
        weights: `(edges,)`. A weight of 0 means that there is no edge.
        nodes: number of nodes, in a bipartite graph of targets.
        matrix: the sparse adjacency with these edges, if there is one.
        sources: number of sources in a bipartite graph.
    """

    def __init__(
        self,
        senders: Any,
        receivers: Any,
        weights: Any,
        nodes: Any,
        matrix: Any = None,
        sources: Any = None,
    ):
        self.senders = senders
        self.receivers = receivers
        self.weights = ops.expand_dims(weights, -1)
        self.exist = ops.not_equal(self.weights, 0)
        self.nodes = nodes
        self.matrix = matrix
        self.sources = nodes if sources is None else sources

    def from_senders(self, h: Any) -> Any:
        return ops.take(source_nodes(h), self.senders, axis=-2)

    def from_receivers(self, h: Any) -> Any:
        return ops.take(target_nodes(h), self.receivers, axis=-2)

    def from_first_senders(self, h: Any, count: int) -> tuple[Any, Any]:
        h, exist = source_nodes(h), self.exist[:, 0]
        receivers = ops.where(exist, ops.cast(self.receivers, "int32"), self.nodes)
        order = ops.argsort(receivers)  # stable: keeps the order of each node's edges
        receivers = ops.take(receivers, order)
        received = ops.segment_sum(ops.cast(exist, "int32"), self.receivers, self.nodes)
        starts = ops.cumsum(received) - received
        rank = ops.arange(ops.shape(receivers)[0], dtype="int32") - ops.take(
            starts, ops.minimum(receivers, self.nodes - 1)
        )
        is_read = ops.logical_and(receivers < self.nodes, rank < count)
        place = ops.where(is_read, receivers * count + rank, self.nodes * count)
        # at most one edge per place, so the sum is a scatter; 0 marks an empty place
        senders = ops.segment_sum(
            ops.take(ops.cast(self.senders, "int32"), order) + 1, place, self.nodes * count + 1
        )
        senders = ops.reshape(senders[:-1], (self.nodes, count))
        return ops.take(h, ops.maximum(senders - 1, 0), axis=-2), senders > 0

    def with_weights(self, weights: Any) -> "ListedEdges":
        weights = ops.squeeze(weights, -1)
        # in mixed mode weights may have a batch axis, which a sparse matrix has not
        is_matrix = self.matrix is not None and len(weights.shape) == 1
        matrix = with_values(self.matrix, weights) if is_matrix else None
        return ListedEdges(self.senders, self.receivers, weights, self.nodes, matrix, self.sources)

    def multiply(self, h: Any) -> Any:
        h = source_nodes(h)
        # backends implement sparse products for float32 only
        if self.matrix is not None and keras.backend.standardize_dtype(h.dtype) == "float32":
            return multiply_nodes(self.matrix, h)
        dtype = dtype_of_products(self.weights, h)
        sent = ops.cast(self.from_senders(h), dtype)
        return ops.cast(self._reduce_sum(ops.cast(self.weights, dtype) * sent), h.dtype)

    def multiply_by_heads(self, weights: Any, h: Any) -> Any:
        if self.matrix is not None:
            return super().multiply_by_heads(weights, h)
        # one sum over all heads takes half the time of one sum per head
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
        return self.reverse().sum(messages)

    def reverse(self) -> "ListedEdges":
        weights = self.weights[..., 0]
        return ListedEdges(self.receivers, self.senders, weights, self.sources, sources=self.nodes)

    def _reduce_sum(self, messages: Any) -> Any:
        # segment sums add one by one: in half precision large sums would stop growing
        wide = at_least_float32(messages)
        return ops.cast(self._by_receiver(ops.segment_sum, wide), messages.dtype)

    def _reduce_max(self, messages: Any) -> Any:
        return self._by_receiver(ops.segment_max, messages)

    def _by_receiver(self, reduce: Any, messages: Any) -> Any:
        if len(messages.shape) == 2:
            return reduce(messages, self.receivers, num_segments=self.nodes)
        messages = ops.moveaxis(messages, -2, 0)
        return ops.moveaxis(reduce(messages, self.receivers, num_segments=self.nodes), 0, -2)


def dtype_of_products(weights: Any, h: Any) -> str:
    """Return the dtype in which weights of edges are multiplied by features.

    It is that of the features, but float32 for features in float16 and weights that are not: the
    products may be in its range where the weights are not.
    """
    dtypes = [keras.backend.standardize_dtype(one.dtype) for one in (weights, h)]
    return "float32" if dtypes[1] == "float16" != dtypes[0] else dtypes[1]


def weighted(weights: Any, h: Any) -> Any:
    """Return products of weights of edges and features, in the dtype of the features."""
    dtype = dtype_of_products(weights, h)
    return ops.cast(ops.cast(weights, dtype) * ops.cast(h, dtype), h.dtype)


def connect(x: Any, a: Any) -> Edges:
    """Return the edges of an adjacency in any form.

    Args:
        x: node features, `(nodes, features)` or `(batch, nodes, features)`, dense or sparse; or
            the pair `[sources, targets]` of a bipartite graph, whose `a` is `(targets, sources)`.
        a: adjacency. `a[i, j]` is the weight of the edge from node j to node i, 0 for no edge. A
            dense tensor `(nodes, nodes)` or `(batch, nodes, nodes)`, a sparse tensor
            `(nodes, nodes)`, or an edge list: a dictionary with integers `senders` and `receivers`
            of shape `(edges,)` and optionally `weights` of the same shape, 1 by default.

    Returns:
        The `Edges`.

    Raises:
        ValueError: if the shapes of `x` and `a` do not match.
        TypeError: if `a` is not an adjacency.
    """
    shapes = [tuple(one.shape) for one in x] if is_pair(x) else tuple(x.shape)
    check_adjacency(shapes, shape_of(a))
    if not isinstance(a, dict) and not is_sparse(a):
        return DenseEdges(a)
    nodes, sources = _rows(target_nodes(x)), _rows(source_nodes(x))
    if isinstance(a, dict):
        weights = a.get("weights")
        if weights is None:
            weights = ops.ones(ops.shape(a["senders"]), "float32")
        return ListedEdges(a["senders"], a["receivers"], weights, nodes, sources=sources)
    places, weights = coordinates(a), stored_values(a)
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(weights.dtype)):
        weights = ops.cast(weights, "float32")  # there is no sparse product of integers
        a = with_values(a, weights)
    return ListedEdges(places[:, 1], places[:, 0], weights, nodes, a, sources)


def _rows(x: Any) -> Any:
    return ops.shape(x)[-2] if x.shape[-2] is None else x.shape[-2]


def is_pair(x: Any) -> bool:
    """Whether node features, or their shapes, are a pair `[sources, targets]`.

    A shape is a tuple of sizes, a pair of shapes a list.
    """
    return isinstance(x, list) or (
        isinstance(x, tuple) and len(x) == 2 and all(hasattr(one, "shape") for one in x)
    )


def source_nodes(x: Any) -> Any:
    """Return the features of the nodes that send, of a pair or of all nodes."""
    return x[0] if is_pair(x) else x


def target_nodes(x: Any) -> Any:
    """Return the features of the nodes that receive, of a pair or of all nodes."""
    return x[1] if is_pair(x) else x


def shape_of(a: Any) -> Any:
    """Return the shape of an adjacency, a dictionary of shapes for an edge list."""
    if isinstance(a, dict):
        return {key: tuple(value.shape) for key, value in a.items()}
    if not hasattr(a, "shape"):
        raise TypeError(
            "The adjacency must be a dense or sparse tensor, or a dictionary of 'senders', "
            f"'receivers' and 'weights'. Received: {type(a)}"
        )
    check_rank(a)
    return tuple(a.shape)


def check_adjacency(x: Any, a: Any) -> None:
    """Check that the shape of the adjacency (of `shape_of`) matches that of the node features.

    The features of a bipartite graph have a list of two shapes.
    """
    if is_pair(x):
        _check_bipartite(x, a)
        return
    if len(x) not in (2, 3):
        raise ValueError(
            "Node features must have shape (nodes, features) or (batch, nodes, features). "
            f"Received: shape {x}"
        )
    if isinstance(a, dict):
        _check_edge_list(a)
        return
    if len(a) not in (2, 3) or len(a) > len(x):
        raise ValueError(
            "The adjacency must have shape (nodes, nodes), or (batch, nodes, nodes) if the "
            f"features have shape (batch, nodes, features). Received: shape {a} with features "
            f"of shape {x}"
        )
    rows, columns = a[-2:]
    if None not in (rows, columns) and rows != columns:
        raise ValueError(f"The adjacency must be square. Received: shape {a}")
    if None not in (rows, x[-2]) and rows != x[-2]:
        raise ValueError(
            "Features and adjacency must have the same number of nodes. Received: features of "
            f"{x[-2]} nodes (shape {x}), adjacency of {rows} (shape {a})"
        )


def _check_bipartite(x: list, a: Any) -> None:
    if len(x) != 2 or len(x[0]) not in (2, 3) or len(x[0]) != len(x[1]):
        raise ValueError(
            "The node features of a bipartite graph must be a pair [sources, targets], each of "
            f"shape (nodes, features) or both (batch, nodes, features). Received: shapes {x}"
        )
    if isinstance(a, dict):
        _check_edge_list(a)
        return
    expected = (x[1][-2], x[0][-2])
    if len(a) not in (2, 3) or len(a) > len(x[0]) or not _matches(tuple(a[-2:]), expected):
        raise ValueError(
            "The adjacency of a bipartite graph must have shape (targets, sources), with a batch "
            f"axis at most if the features have one. Received: shape {a} with features of "
            f"{expected[1]} sources and {expected[0]} targets"
        )


def _check_edge_list(a: dict) -> None:
    if not {"senders", "receivers"} <= set(a) <= {"senders", "receivers", "weights"}:
        raise ValueError(
            "An edge list must be a dictionary of 'senders', 'receivers' and optionally "
            f"'weights'. Received: {sorted(a)}"
        )
    if any(len(shape) != 1 for shape in a.values()) or len({*a.values()} - {(None,)}) > 1:
        raise ValueError(
            f"The parts of an edge list must be vectors of the same length. Received: shapes {a}"
        )


def check_edge_features(x: Any, a: Any, e: Any) -> None:
    """Check that the edge features `e` match the nodes `x` and the adjacency `a`."""
    if isinstance(a, dict):
        edges = tuple(a["senders"].shape)
    else:
        edges = tuple(coordinates(a).shape[:1]) if is_sparse(a) else tuple(a.shape[-2:])
    shape, batch = tuple(e.shape[:-1]), tuple(target_nodes(x).shape[:-2])
    if not any(_matches(shape, expected) for expected in (edges, (*batch, *edges))):
        raise ValueError(
            "Edge features must have shape (edges, features), in the order of the edges of an "
            "edge list or a sparse adjacency, or (nodes, nodes, features) for a dense adjacency, "
            f"with or without a batch axis. Received: features of shape {tuple(e.shape)} for "
            f"{edges} edges"
        )


def _matches(shape: tuple, expected: tuple) -> bool:
    return len(shape) == len(expected) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, expected, strict=True)
    )


def keep_edges(a: Any, weights: Any, keep: Any) -> Any:
    """Set the weights of some edges to 0, which removes them without changing shapes.

    Args:
        a: adjacency in any form.
        weights: `Edges.weights` of `a`.
        keep: booleans shaped like `weights`, `False` for edges to remove. For a dense adjacency
            they may have an additional batch axis.

    Returns:
        The adjacency in its form. An edge list always has `weights` afterwards; a dense matrix gets
        the batch axis of `keep`.

    Raises:
        ValueError: if `keep` has a batch axis and `a` is an edge list or a sparse matrix.
    """
    if len(keep.shape) > 2 and (isinstance(a, dict) or is_sparse(a)):
        raise ValueError(
            "Removing different edges in each graph of a batch needs a dense adjacency, "
            "(nodes, nodes) or (batch, nodes, nodes). Received: "
            f"{'an edge list' if isinstance(a, dict) else a}"
        )
    kept = ops.squeeze(ops.where(keep, weights, ops.zeros_like(weights)), -1)
    if isinstance(a, dict):
        return {**a, "weights": kept}
    return with_values(a, kept) if is_sparse(a) else kept


def keep_nodes(x: Any, a: Any, keep: Any) -> Any:
    """Remove all edges from and to some nodes, as `keep_edges` does.

    `keep` is `(nodes, 1)` or `(batch, nodes, 1)`, `False` for the nodes that lose their edges.
    """
    edges = connect(x, a)
    both = ops.logical_and(edges.from_senders(keep), edges.from_receivers(keep))
    return keep_edges(a, edges.weights, both)


def spec_of_kept_edges(a: Any, batch: tuple = ()) -> Any:
    """Return the symbolic result of `keep_edges`; `batch` is the batch shape of `keep`."""
    if isinstance(a, dict):
        weights = a.get("weights")
        dtype = "float32" if weights is None else weights.dtype
        specs = {name: keras.KerasTensor(one.shape, one.dtype) for name, one in a.items()}
        return specs | {"weights": keras.KerasTensor(a["senders"].shape, dtype)}
    if is_sparse(a):
        return keras.KerasTensor(a.shape, a.dtype, sparse=True)
    shape = a.shape if len(a.shape) == 3 else (*batch, *a.shape)
    return keras.KerasTensor(shape, a.dtype)
