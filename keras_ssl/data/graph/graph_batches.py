"""Batches of several graphs: disjoint unions and padded arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_ssl import checks
from keras_ssl.data._autotuning import without_autotuning
from keras_ssl.data.graph.single_graph import graph_with_features, weights_of_classes
from keras_ssl.graphs import Graph
from keras_ssl.graphs.disjoint_union import check_alike, check_not_empty, several_graphs

if TYPE_CHECKING:
    import tensorflow as tf


_NO_GRAPH = -1


def disjoint_batches(
    graphs: Iterable[Any],
    batch_size: int,
    adjacency: str = "sparse",
    static_shapes: bool = False,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
    node_labels: bool = False,
    class_weight: Mapping[int, float] | str | None = None,
) -> tf.data.Dataset:
    """Batch graphs as disjoint unions (disjoint mode).

    With `static_shapes`, for XLA and TPUs, all batches have as many nodes and edges as the
    `batch_size` largest graphs together. Padded nodes are zeros with an `i` of -1, which pooling
    layers leave out; these need `graphs=batch_size` for static shapes. Padded edges have weight 0.
    A smaller last batch is padded with graphs without nodes, of sample weight 0.

    Args:
        graphs: graphs of any kind that `graphs.as_graph` takes, with features and one label each,
            or a Spektral `Dataset`.
        batch_size: number of graphs per batch.
        adjacency: `"sparse"` (`tf.SparseTensor`) or `"edges"` (an edge list).
        static_shapes: whether all batches have the same shapes; needs `adjacency="edges"`.
        shuffle: whether to shuffle the graphs before each epoch.
        seed: integer seed of the shuffling.
        drop_remainder: whether to drop a smaller last batch.
        node_labels: whether `y` are labels of the nodes, as in PPI, and not of the graphs.
        class_weight: weight of each class, or "balanced", as in `single_graph`.

    Returns:
        `tf.data.Dataset` of `((x, a, i), y)`, with edge features `((x, a, e, i), y)`, without
        labels `((x, a, i),)`; `i` is int32. `y` has one row per graph, or per node of the union.
        With `static_shapes` and labels a `sample_weight` for each row follows: 0 for padding, and
        the same for all graphs or nodes of all batches, scaled so that the loss that Keras returns
        for an epoch is the mean over them. Pass metrics as `weighted_metrics` in `compile`; others
        count padding.

    Raises:
        TypeError: if `graphs` is a single graph, or a number not an integer.
        ValueError: if there is no graph, one has no nodes or no features, they do not match, or an
            argument is out of range.

    Example:

    >>> import networkx, numpy as np
    >>> from keras_ssl import data, graphs
    >>> cycles = [networkx.to_numpy_array(networkx.cycle_graph(n)) for n in (3, 4, 5)]
    >>> cycles = [graphs.Graph(np.ones((len(a), 1)), a, y=len(a)) for a in cycles]
    >>> (x, a, i), y = next(iter(data.disjoint_batches(cycles, batch_size=2)))
    >>> x.shape, i.numpy(), y.numpy()
    (TensorShape([7, 1]), array([0, 0, 0, 1, 1, 1, 1], dtype=int32), array([3, 4]))
    """
    import tensorflow as tf

    if adjacency not in ("sparse", "edges"):
        raise ValueError(
            f"`adjacency` must be 'sparse' or 'edges'. Received: adjacency={adjacency!r}"
        )
    if static_shapes and adjacency == "sparse":
        raise ValueError(
            "`static_shapes` needs `adjacency='edges'`, since the number of entries of a sparse "
            "tensor is not static. Received: adjacency='sparse'"
        )
    store = _GraphStore(graphs, node_labels, class_weight)
    numbers = store.batches(batch_size, shuffle, seed, drop_remainder)
    batch_size = int(batch_size)
    node_places = int(np.sort(store.node_counts)[-batch_size:].sum())
    edge_places = int(np.sort(store.edge_counts)[-batch_size:].sum())
    rows = node_places if node_labels else batch_size
    weight = weight_of_rows(len(store), batch_size, rows, drop_remainder)
    if node_labels:
        weight /= store.mean_nodes(batch_size, drop_remainder, shuffle)

    def union(some: tf.Tensor) -> tuple:
        batch = store.gather(some)
        offsets = tf.gather(tf.cumsum(batch.nodes, exclusive=True), batch.edge_graph)
        senders, receivers = batch.senders + offsets, batch.receivers + offsets
        if adjacency == "sparse":
            n = tf.shape(batch.x, tf.int64)[0]
            indices = tf.cast(tf.stack([receivers, senders], axis=1), tf.int64)
            a = tf.SparseTensor(indices, batch.weights, [n, n])
        else:
            a = {"senders": senders, "receivers": receivers, "weights": batch.weights}
        inputs = (batch.x, a, batch.i) if batch.e is None else (batch.x, a, batch.e, batch.i)
        return tuple(one for one in (inputs, batch.y, batch.weight) if one is not None)

    def filled(inputs: tuple, y: tf.Tensor | None = None, factor: Any = 1.0) -> tuple:
        x, a, *e, i = inputs
        a = {name: _fill(part, edge_places) for name, part in a.items()}
        e = [_fill(part, edge_places) for part in e]
        inputs = (_fill(x, node_places), a, *e, _fill(i, node_places, _NO_GRAPH))
        if y is None:
            return (inputs,)
        weights = tf.fill([tf.shape(y)[0]], weight) * factor
        return inputs, _fill(y, rows), _fill(weights, rows)

    batches = numbers.map(union, num_parallel_calls=tf.data.AUTOTUNE)
    if static_shapes:
        batches = batches.map(filled, num_parallel_calls=tf.data.AUTOTUNE)
    return without_autotuning(batches.prefetch(tf.data.AUTOTUNE))


def weight_of_rows(count: int, batch_size: int, rows: int, drop_remainder: bool) -> float:
    """Return the sample weight of examples in batches that are padded to a number of rows.

    Keras divides the loss of a batch by its rows, and averages over batches. With this weight, the
    loss of an epoch is the mean over examples. It is the same in all batches, since weighted
    metrics are divided by the sum of all weights.

    Args:
        count: number of examples.
        batch_size: number of examples of a full batch.
        rows: number of rows of every batch.
        drop_remainder: whether a smaller last batch is dropped.
    """
    batches = count // batch_size if drop_remainder else math.ceil(count / batch_size)
    return batches * rows / (batches * batch_size if drop_remainder else count)


def _fill(values: tf.Tensor, length: int, value: int = 0) -> tf.Tensor:
    """Pad rows to a length."""
    import tensorflow as tf

    rows = [[0, length - tf.shape(values)[0]]] + [[0, 0]] * (len(values.shape) - 1)
    filled = tf.pad(values, rows, constant_values=tf.cast(value, values.dtype))
    return tf.ensure_shape(filled, [length, *values.shape[1:]])


def padded_batches(
    graphs: Iterable[Any],
    batch_size: int,
    nodes: int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
    node_labels: bool = False,
    class_weight: Mapping[int, float] | str | None = None,
) -> tf.data.Dataset:
    """Batch graphs as dense arrays, padded with zeros (batch mode).

    Memory grows with the square of the largest graph: for graphs of very different sizes use
    `disjoint_batches`.

    Args:
        graphs: graphs of any kind that `graphs.as_graph` takes, with features and one label each,
            or a Spektral `Dataset`.
        batch_size: number of graphs per batch.
        nodes: number of nodes to pad to, or `None` for that of the largest graph.
        shuffle: whether to shuffle the graphs before each epoch.
        seed: integer seed of the shuffling.
        drop_remainder: whether to drop a smaller last batch.
        node_labels: whether `y` are labels of the nodes, as in PPI, and not of the graphs.
        class_weight: weight of each class, or "balanced", as in `single_graph`.

    Returns:
        `tf.data.Dataset` of `((x, a, mask), y)`: `x` of shape `(batch, nodes, features)`, `a` of
        shape `(batch, nodes, nodes)`, `mask` of shape `(batch, nodes)`, true for nodes.
        With edge features `((x, a, e, mask), y)`, `e` of shape `(batch, nodes, nodes, features)`;
        without labels `((x, a, mask),)`. With `node_labels`, `y` has shape `(batch, nodes, ...)`,
        and a `sample_weight` of shape `(batch, nodes)` follows: 0 for padding, and the same for all
        nodes, scaled so that the loss that Keras returns for an epoch is the mean over the nodes.

    Raises:
        TypeError: if `graphs` is a single graph, or a number not an integer.
        ValueError: if there is no graph, one has no nodes, no features, or more than `nodes`
            nodes, or they do not match.

    Example:

    >>> import networkx, numpy as np
    >>> from keras_ssl import data, graphs
    >>> cycles = [networkx.to_numpy_array(networkx.cycle_graph(n)) for n in (3, 4, 5)]
    >>> cycles = [graphs.Graph(np.ones((len(a), 1)), a, y=len(a)) for a in cycles]
    >>> (x, a, mask), y = next(iter(data.padded_batches(cycles, batch_size=2)))
    >>> x.shape, a.shape, mask.numpy().sum(axis=1)
    (TensorShape([2, 5, 1]), TensorShape([2, 5, 5]), array([3, 4]))
    """
    import tensorflow as tf

    store = _GraphStore(graphs, node_labels, class_weight)
    largest = int(np.max(store.node_counts))
    places = largest if nodes is None else checks.integer("nodes", nodes)
    if places < largest:
        raise ValueError(
            f"`nodes` must be at least the size of the largest graph, {largest}. Received: "
            f"nodes={nodes}"
        )
    numbers = store.batches(batch_size, shuffle, seed, drop_remainder)
    # Keras weighs batches by their graphs
    node_weight = places / store.mean_nodes(int(batch_size), drop_remainder, shuffle)

    def pad(some: tf.Tensor) -> tuple:
        batch = store.gather(some)
        count = some.shape[0]  # None if the last batch may be smaller
        size = tf.size(some)
        offsets = tf.gather(tf.cumsum(batch.nodes, exclusive=True), batch.i)
        place = tf.stack([batch.i, tf.range(tf.size(batch.i)) - offsets], axis=1)
        x = tf.scatter_nd(place, batch.x, [size, places, batch.x.shape[1]])
        pair = tf.stack([batch.edge_graph, batch.receivers, batch.senders], axis=1)
        a = tf.scatter_nd(pair, batch.weights, [size, places, places])
        inputs = [x, a]
        if batch.e is not None:
            inputs.append(tf.scatter_nd(pair, batch.e, [size, places, places, batch.e.shape[1]]))
        inputs.append(tf.sequence_mask(batch.nodes, places))
        inputs = tuple(tf.ensure_shape(part, [count, *part.shape[1:]]) for part in inputs)
        y, weight = batch.y, batch.weight
        if node_labels and y is not None:
            y = tf.scatter_nd(place, y, [size, places, *y.shape[1:]])
            weight = tf.fill([tf.size(batch.i)], node_weight) * (1.0 if weight is None else weight)
            weight = tf.scatter_nd(place, weight, [size, places])
            y, weight = (tf.ensure_shape(one, [count, *one.shape[1:]]) for one in (y, weight))
        return tuple(one for one in (inputs, y, weight) if one is not None)

    batches = numbers.map(pad, num_parallel_calls=tf.data.AUTOTUNE)
    return without_autotuning(batches.prefetch(tf.data.AUTOTUNE))


class _GatheredGraphs(NamedTuple):
    """Some graphs, with concatenated nodes and edges.

    Attributes:
        nodes: number of nodes of each graph, `(graphs,)`.
        x: features of all nodes, `(n, features)`.
        i: index of each node's graph, `(n,)`.
        senders: sender of each edge, an index within its graph, `(edges,)`.
        receivers: receiver of each edge, likewise.
        weights: edge weights, `(edges,)`.
        e: edge features, or `None`.
        edge_graph: index of each edge's graph, `(edges,)`.
        y: labels of the graphs, `(graphs, ...)`, or of the nodes, `(n, ...)`; or `None`.
        weight: weight of the class of each row of `y`, or `None`.
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
    weight: tf.Tensor | None


class _GraphStore:
    """The concatenated tensors of many graphs with features, from which batches are gathered.

    Args:
        graphs: graphs of any kind.
        node_labels: whether their labels are those of nodes.
        class_weight: weight of each class, or `None`.
    """

    def __init__(
        self, graphs: Iterable[Any], node_labels: bool = False, class_weight: Any = None
    ) -> None:
        import scipy.sparse
        import tensorflow as tf

        graphs = several_graphs(graphs)
        check_not_empty(graphs)
        graphs = [graph_with_features(graph, "graphs") for graph in graphs]
        check_alike(graphs)
        self.node_labels = bool(node_labels)
        y = _labels_of(graphs, self.node_labels)
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
        self._y = None if y is None else tf.constant(y)
        self._weight = None
        if class_weight is not None:
            self._weight = tf.constant(weights_of_classes(y, class_weight))
        self._node_ends = tf.constant(np.cumsum(self.node_counts))
        self._edge_ends = tf.constant(np.cumsum(self.edge_counts))
        self._nodes = tf.constant(self.node_counts)
        self._edges = tf.constant(self.edge_counts)

    def __len__(self) -> int:
        return len(self.node_counts)

    def gather(self, numbers: tf.Tensor) -> _GatheredGraphs:
        """Return the graphs with the given indices `(graphs,)`, in this order."""
        import tensorflow as tf

        nodes = tf.gather(self._nodes, numbers)
        edges = tf.gather(self._edges, numbers)
        node_ends = tf.gather(self._node_ends, numbers)
        edge_ends = tf.gather(self._edge_ends, numbers)
        node_rows = tf.ragged.range(node_ends - nodes, node_ends).values
        edge_rows = tf.ragged.range(edge_ends - edges, edge_ends).values
        order = tf.range(tf.size(numbers))
        labelled = node_rows if self.node_labels else numbers
        return _GatheredGraphs(
            nodes=tf.cast(nodes, tf.int32),
            x=tf.gather(self._x, node_rows),
            i=tf.repeat(order, nodes),
            senders=tf.gather(self._senders, edge_rows),
            receivers=tf.gather(self._receivers, edge_rows),
            weights=tf.gather(self._weights, edge_rows),
            e=None if self._e is None else tf.gather(self._e, edge_rows),
            edge_graph=tf.repeat(order, edges),
            y=None if self._y is None else tf.gather(self._y, labelled),
            weight=None if self._weight is None else tf.gather(self._weight, labelled),
        )

    def mean_nodes(self, batch_size: int, drop_remainder: bool, shuffle: bool) -> float:
        """Return the number of nodes per graph of an epoch, if it drops graphs at random of all."""
        count = len(self)
        if drop_remainder and not shuffle:
            count -= count % batch_size
        return float(np.mean(self.node_counts[:count]))

    def batches(
        self, batch_size: int, shuffle: bool, seed: int | None, drop_remainder: bool
    ) -> tf.data.Dataset:
        """Return a `tf.data.Dataset` of the indices of the graphs of each batch."""
        import tensorflow as tf

        batch_size = checks.integer("batch_size", batch_size, minimum=1)
        if drop_remainder and batch_size > len(self):
            raise ValueError(
                f"`batch_size` must be at most the number of graphs, {len(self)}, with "
                f"`drop_remainder`. Received: batch_size={batch_size}"
            )
        numbers = tf.data.Dataset.range(len(self))
        if shuffle:
            numbers = numbers.shuffle(len(self), seed=seed)
        return numbers.batch(batch_size, drop_remainder=drop_remainder)


def _labels_of(graphs: list[Graph], node_labels: bool) -> np.ndarray | None:
    """Return the labels of all graphs, stacked, or those of all nodes, concatenated."""
    labels = [graph.y for graph in graphs]
    if labels[0] is None:  # all graphs have labels, or none has
        return None
    if node_labels:
        wrong = [
            (graph.nodes, graph.y.shape) for graph in graphs if graph.y.shape[:1] != (graph.nodes,)
        ]
        if wrong:
            raise ValueError(
                "`node_labels=True` needs a row of `y` for each node. Received: a graph of "
                f"{wrong[0][0]} nodes with y of shape {wrong[0][1]}"
            )
    shapes = {y.shape[1:] if node_labels else y.shape for y in labels}
    if len(shapes) > 1:
        hint = "" if node_labels else "; labels of nodes need `node_labels=True`"
        raise ValueError(
            "`graphs` must have labels of the same shape, one number or vector per "
            f"{'node' if node_labels else 'graph'}{hint}. Received: y of shapes "
            f"{sorted({y.shape for y in labels})[:5]}"
        )
    return np.concatenate(labels) if node_labels else np.stack(labels)
