"""The edges of a graph, whatever form its adjacency has."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops.graph.sparse import (
    coordinates,
    is_sparse,
    multiply_nodes,
    stored_values,
    with_places,
    with_values,
)


def widened(x: Any) -> Any:
    """Return a tensor in float32 or better.

    Sums over many nodes or edges are taken in it: in half precision they stand still at some
    hundreds or leave its range.

    Args:
        x: tensor of any dtype.

    Returns:
        float64 of float64, otherwise float32.
    """
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


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


def connect(x: Any, a: Any) -> Edges:
    """Read the edges between nodes.

    Args:
        x: features of the nodes, `(nodes, features)` or `(batch, nodes, features)`, dense or
            sparse.
        a: adjacency. `a[i, j]` is the weight of the edge over which node i receives from node j;
            0 is no edge. A dense tensor `(nodes, nodes)` or `(batch, nodes, nodes)`, a sparse
            tensor `(nodes, nodes)`, or an edge list: a dictionary of `senders` and `receivers`,
            integers of shape `(edges,)`, and `weights` of the same shape, which may be missing
            for edges of weight 1.

    Returns:
        The `Edges`.

    Raises:
        ValueError: if the shapes do not fit one another.
        TypeError: if `a` has none of the three forms.
    """
    check_adjacency(tuple(x.shape), shape_of(a))
    if isinstance(a, dict) or is_sparse(a):
        nodes = x.shape[-2]
        return listed_edges(a, ops.shape(x)[-2] if nodes is None else nodes)
    return DenseEdges(a)


def shape_of(a: Any) -> Any:
    """Return the shape of an adjacency, of an edge list as a dictionary of shapes.

    Args:
        a: adjacency of any form.

    Returns:
        A tuple, or a dictionary of tuples.

    Raises:
        TypeError: if `a` is no adjacency.
    """
    if isinstance(a, dict):
        return {key: tuple(value.shape) for key, value in a.items()}
    if not hasattr(a, "shape"):
        raise TypeError(
            "The adjacency must be a dense or sparse tensor, or a dictionary of 'senders', "
            f"'receivers' and 'weights'. Received: {type(a)}"
        )
    return tuple(a.shape)


def check_adjacency(x: tuple, a: Any) -> None:
    """Raise unless the shapes of node features and adjacency fit one another.

    Args:
        x: shape of the features.
        a: shape of the adjacency, of an edge list a dictionary of shapes.

    Raises:
        ValueError: if they do not.
    """
    if len(x) not in (2, 3):
        raise ValueError(
            "Node features must be of shape (nodes, features) or (batch, nodes, features). "
            f"Received: shape {x}"
        )
    if isinstance(a, dict):
        _check_edge_list(a)
        return
    if len(a) not in (2, 3) or len(a) > len(x):
        raise ValueError(
            "The adjacency must be of shape (nodes, nodes), or (batch, nodes, nodes) where the "
            f"features are of shape (batch, nodes, features). Received: shape {a} with features "
            f"of shape {x}"
        )
    rows, columns = a[-2:]
    if None not in (rows, columns) and rows != columns:
        raise ValueError(f"The adjacency must be square. Received: shape {a}")
    if None not in (rows, x[-2]) and rows != x[-2]:
        raise ValueError(
            f"Features and adjacency must be of the same nodes. Received: features of {x[-2]} "
            f"nodes (shape {x}), adjacency of {rows} (shape {a})"
        )


def check_edge_features(x: Any, a: Any, e: Any) -> None:
    """Raise unless there are features of every edge.

    Args:
        x: features of the nodes.
        a: adjacency of any form.
        e: features of the edges.

    Raises:
        ValueError: if their shape does not fit the adjacency.
    """
    if isinstance(a, dict):
        edges = tuple(a["senders"].shape)
    else:
        edges = tuple(coordinates(a).shape[:1]) if is_sparse(a) else tuple(a.shape[-2:])
    of_all, of_each = edges, (*x.shape[:-2], *edges)
    if not any(_fits(tuple(e.shape[:-1]), places) for places in (of_all, of_each)):
        raise ValueError(
            "Features of edges must be of shape (edges, features), in the order of the edges of a "
            "list or a sparse adjacency, or (nodes, nodes, features) of a dense one; the same for "
            f"all of a batch or (batch, ...). Received: features of shape {tuple(e.shape)} of "
            f"{edges} edges"
        )


def _fits(shape: tuple, wanted: tuple) -> bool:
    return len(shape) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, wanted, strict=True)
    )


def _check_edge_list(a: dict) -> None:
    if not {"senders", "receivers"} <= set(a) <= {"senders", "receivers", "weights"}:
        raise ValueError(
            "An edge list must be a dictionary of 'senders', 'receivers' and, where edges have "
            f"them, 'weights'. Received: {sorted(a)}"
        )
    if any(len(shape) != 1 for shape in a.values()) or len({*a.values()} - {(None,)}) > 1:
        raise ValueError(
            "The parts of an edge list must be vectors of one length. Received: shapes "
            f"{ {key: tuple(shape) for key, shape in a.items()} }"
        )


def keep_edges(a: Any, weights: Any, keep: Any) -> Any:
    """Set the weight of edges to 0, which makes them none.

    Args:
        a: adjacency of any form.
        weights: `Edges.weights` of it.
        keep: booleans, shaped as the weights or, of a dense matrix, as one for each of a batch.

    Returns:
        The adjacency in its form. An edge list has `weights` afterwards, if it had none before; of
        a dense matrix and a batch of `keep`, one matrix for each.

    Raises:
        ValueError: if a list or a sparse matrix is to lose other edges in each graph of a batch.
    """
    if len(keep.shape) > 2 and (isinstance(a, dict) or is_sparse(a)):
        raise ValueError(
            "Graphs of a batch that lose different edges need a dense adjacency, (nodes, nodes) or "
            f"(batch, nodes, nodes). Received: {'an edge list' if isinstance(a, dict) else a}"
        )
    kept = ops.squeeze(ops.where(keep, weights, ops.zeros_like(weights)), -1)
    if isinstance(a, dict):
        return {**a, "weights": kept}
    return with_values(a, kept) if is_sparse(a) else kept


def keep_nodes(x: Any, a: Any, keep: Any) -> Any:
    """Set the weights of all edges from and to some nodes to 0.

    Args:
        x: features of the nodes, for their number.
        a: adjacency of any form.
        keep: booleans `(nodes, 1)` or `(batch, nodes, 1)`, `False` for the nodes that lose their
            edges.

    Returns:
        The adjacency in its form; see `keep_edges`.

    Raises:
        ValueError: as `keep_edges`.
    """
    edges = connect(x, a)
    both = ops.logical_and(edges.from_senders(keep), edges.from_receivers(keep))
    return keep_edges(a, edges.weights, both)


def spec_of_kept_edges(a: Any, batch: tuple = ()) -> Any:
    """Return what `keep_edges` returns, as symbolic tensors.

    Args:
        a: adjacency of any form.
        batch: shape of `keep` before the nodes.

    Returns:
        The adjacency in its form.
    """
    if isinstance(a, dict):
        weights = a.get("weights")
        dtype = "float32" if weights is None else weights.dtype
        specs = {name: keras.KerasTensor(one.shape, one.dtype) for name, one in a.items()}
        return specs | {"weights": keras.KerasTensor(a["senders"].shape, dtype)}
    if is_sparse(a):
        return keras.KerasTensor(a.shape, a.dtype, sparse=True)
    shape = a.shape if len(a.shape) == 3 else (*batch, *a.shape)
    return keras.KerasTensor(shape, a.dtype)
