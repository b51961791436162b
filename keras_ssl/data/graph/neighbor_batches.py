"""`neighbor_batches`: some nodes of a large graph with sampled neighbors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks
from keras_ssl.data._autotuning import without_autotuning
from keras_ssl.data.graph.graph_batches import weight_of_rows
from keras_ssl.data.graph.single_graph import graph_with_features, weights_of_classes

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_ssl.graphs import Graph


def neighbor_batches(
    graph: Any,
    seeds: Any,
    fanouts: Sequence[int],
    batch_size: int,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
    class_weight: Mapping[int, float] | str | None = None,
) -> tf.data.Dataset:
    """Batch nodes of a large graph, each with a tree of sampled neighbors.

    For each of `batch_size` seeds a tree is sampled: `fanouts[0]` of the nodes that it receives
    from, `fanouts[1]` for each of these, and so on, one level for each layer of the network.
    Neighbors are sampled uniformly without replacement; if there are no more than the fanout, all
    are used. A node that is sampled twice occurs twice in the tree.

    Shapes are static: a batch has `batch_size (1 + fanouts[0] + fanouts[0] fanouts[1] + ...)`
    nodes, the seeds first. Unused places have features 0, edges of weight 0, and a mask that is
    `False`, which layers with statistics over nodes need. The cost of an epoch grows with the
    number of seeds, not with the graph.

    Edges keep their weights. If fanouts are at least the numbers of neighbors, the outputs of the
    seeds equal those on the whole graph for layers whose messages depend on sender and receiver
    only: means, sums, `GraphSAGEConv`, and `GATConv` on graphs without self-loops (the sender of
    which would be a separate node of the tree). With smaller fanouts, a mean over sampled neighbors
    estimates the mean over all, and a sum is smaller. `GCNConv(normalize=True)` uses the degrees in
    the tree, and so always differs from the whole graph; sample from a graph with
    `a=GCNConv.preprocess(a)` to use the degrees of the whole graph.

    Args:
        graph: a `graphs.Graph`, Spektral's, or a networkx graph, with features. Sparse features
            become dense in a batch.
        seeds: indices of the nodes, or a boolean mask such as `graph.splits["train"]`.
        fanouts: number of neighbors to sample per node, for each layer, starting at the seeds.
        batch_size: number of seeds per batch.
        shuffle: whether to shuffle the seeds before each epoch.
        seed: integer seed of shuffling and sampling.
        drop_remainder: whether to drop a smaller last batch; otherwise it is padded with nodes of
            sample weight 0.
        class_weight: weight of each class, or "balanced", as in `single_graph`.

    Returns:
        `tf.data.Dataset` of `((x, a, mask), y, sample_weight)`, with edge features
        `((x, a, e, mask), y, sample_weight)`, without node labels `((x, a, mask),)`. `a` is an edge
        list, `mask` is `True` for nodes. `sample_weight` is 0 for all but the seeds, and the same
        for all seeds of all batches, scaled so that the loss that Keras returns for an epoch is the
        mean over the seeds. Pass metrics as `weighted_metrics` in `compile`; others count all rows.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if the graph has no features, there are no seeds or they are out of range, or a
            number is not positive.

    Example:

    >>> from keras_ssl import data
    >>> club = data.load_graph("karate_club")
    >>> batches = data.neighbor_batches(club, seeds=[0, 33], fanouts=[5, 2], batch_size=2)
    >>> (x, a, mask), y, sample_weight = next(iter(batches))
    >>> x.shape, a["weights"].shape, y.shape
    (TensorShape([32, 34]), TensorShape([30]), TensorShape([32]))

    Reference:
        - [Hamilton et al., 2017](https://arxiv.org/abs/1706.02216)
    """
    import tensorflow as tf

    graph = graph_with_features(graph)
    seeds = _seed_nodes(seeds, graph.nodes)
    batch_size = checks.integer("batch_size", batch_size, minimum=1)
    if not isinstance(fanouts, (Sequence, np.ndarray)) or not len(fanouts):
        raise ValueError(
            f"`fanouts` must be a list of one number per layer. Received: fanouts={fanouts!r}"
        )
    fanouts = [
        checks.integer(f"fanouts[{layer}]", fanout, minimum=1)
        for layer, fanout in enumerate(fanouts)
    ]
    if drop_remainder and batch_size > len(seeds):
        raise ValueError(
            f"`batch_size` must be at most the number of seeds, {len(seeds)}, with "
            f"`drop_remainder`. Received: batch_size={batch_size}"
        )
    size, _ = tree_sizes(batch_size, fanouts)
    weight = weight_of_rows(len(seeds), batch_size, size, drop_remainder)
    tree = _Tree(graph, batch_size, fanouts, weight)
    if class_weight is not None:
        is_seed = np.zeros(graph.nodes, bool)
        is_seed[seeds] = True
        labels = graph.y if tree.y is not None else None
        tree.factors = tf.constant(weights_of_classes(labels, class_weight, is_seed))
    nodes = tf.data.Dataset.from_tensor_slices(seeds)
    if shuffle:
        nodes = nodes.shuffle(len(seeds), seed=seed)
    nodes = nodes.batch(batch_size, drop_remainder=drop_remainder)
    numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    batches = tf.data.Dataset.zip(nodes, numbers)
    batches = batches.map(tree.sample, num_parallel_calls=tf.data.AUTOTUNE)
    return without_autotuning(batches.prefetch(tf.data.AUTOTUNE))


class _Tree:
    """The tensors of a graph, from which batches are sampled, and the weight of a seed."""

    def __init__(
        self, graph: Graph, batch_size: int, fanouts: Sequence[int], weight: float
    ) -> None:
        import scipy.sparse
        import tensorflow as tf

        self.batch_size = batch_size
        self.fanouts = tuple(fanouts)
        self.weight = weight
        self.factors = None  # of the classes of the nodes
        self.size, _ = tree_sizes(batch_size, self.fanouts)
        self.senders, self.receivers = map(tf.constant, tree_edges(batch_size, self.fanouts))
        self.starts = tf.constant(graph.a.indptr.astype(np.int64))
        # an additional entry for unused places
        self.none = np.int64(graph.edges)
        self.neighbors = tf.constant(np.pad(graph.a.indices.astype(np.int32), (0, 1)))
        self.weights = tf.constant(np.pad(graph.a.data, (0, 1)))
        self.e = None
        if graph.e is not None:
            self.e = tf.constant(np.pad(graph.e, ((0, 1), (0, 0))))
        has_labels = graph.y is not None and graph.y.shape[:1] == (graph.nodes,)
        self.y = tf.constant(graph.y) if has_labels else None
        self.x = _SparseRows(graph.x) if scipy.sparse.issparse(graph.x) else tf.constant(graph.x)

    def sample(self, seeds: tf.Tensor, number: tf.Tensor) -> tuple:
        """Return a batch for some seeds, given a random number."""
        import tensorflow as tf

        count = tf.size(seeds)
        free = self.batch_size - count
        level = tf.ensure_shape(tf.pad(seeds, [[0, free]]), [self.batch_size])
        exist = tf.range(self.batch_size) < count
        nodes, existing, entries = [level], [exist], []
        for depth, fanout in enumerate(self.fanouts):
            first = tf.gather(self.starts, level)
            degrees = tf.cast(tf.gather(self.starts, level + 1) - first, tf.int32)
            degrees = tf.where(exist, degrees, 0)
            places, exist = distinct_places(degrees, fanout, tf.stack([number, depth]))
            entry = first[:, None] + tf.cast(places, tf.int64)
            entry = tf.reshape(tf.where(exist, entry, self.none), [-1])
            level, exist = tf.gather(self.neighbors, entry), tf.reshape(exist, [-1])
            nodes.append(level)
            existing.append(exist)
            entries.append(entry)
        nodes, existing, entries = (tf.concat(parts, 0) for parts in (nodes, existing, entries))
        return self._element(nodes, existing, entries, count)

    def _element(
        self, nodes: tf.Tensor, existing: tf.Tensor, entries: tf.Tensor, count: tf.Tensor
    ) -> tuple:
        import tensorflow as tf

        x = self.x.gather(nodes) if isinstance(self.x, _SparseRows) else tf.gather(self.x, nodes)
        x = tf.where(existing[:, None], x, 0)
        weights = tf.gather(self.weights, entries)
        inputs = (x, {"senders": self.senders, "receivers": self.receivers, "weights": weights})
        if self.e is not None:
            inputs += (tf.gather(self.e, entries),)
        inputs += (existing,)
        if self.y is None:
            return (inputs,)
        is_seed = tf.range(self.size) < count
        weight = tf.constant(self.weight, tf.float32)
        if self.factors is not None:
            weight *= tf.gather(self.factors, nodes)
        sample_weight = tf.where(is_seed, weight, 0.0)
        return inputs, tf.gather(self.y, nodes), sample_weight


class _SparseRows:
    """A sparse matrix whose rows are gathered as dense ones."""

    def __init__(self, matrix: Any) -> None:
        import tensorflow as tf

        self.columns = matrix.shape[1]
        self.starts = tf.constant(matrix.indptr.astype(np.int64))
        self.indices = tf.constant(matrix.indices.astype(np.int32))
        self.values = tf.constant(matrix.data)

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Return dense rows."""
        import tensorflow as tf

        entries = tf.ragged.range(tf.gather(self.starts, rows), tf.gather(self.starts, rows + 1))
        place = tf.cast(entries.value_rowids(), tf.int32)
        columns = tf.gather(self.indices, entries.values)
        values = tf.gather(self.values, entries.values)
        places = tf.stack([place, columns], axis=1)
        return tf.scatter_nd(places, values, [rows.shape[0], self.columns])


def _seed_nodes(seeds: Any, n: int) -> np.ndarray:
    seeds = np.asarray(seeds)
    if seeds.dtype == bool:
        if seeds.shape != (n,):
            raise ValueError(
                f"`seeds` as a mask must have shape ({n},). Received: shape {seeds.shape}"
            )
        seeds = np.flatnonzero(seeds)
    if seeds.ndim != 1 or not seeds.size:
        raise ValueError(
            f"`seeds` must be a vector of at least one node. Received: shape {seeds.shape}"
        )
    if seeds.dtype.kind not in "iu" or seeds.min() < 0 or seeds.max() >= n:
        raise ValueError(
            f"`seeds` must be integers from 0 to {n - 1}, or a mask. Received: values from "
            f"{seeds.min()} to {seeds.max()}, dtype {seeds.dtype}"
        )
    return seeds.astype(np.int32)


def tree_edges(batch_size: int, fanouts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return children (senders) and parents (receivers) of trees with `fanouts` children per level.

    Nodes are numbered level by level, the `batch_size` roots first, in the order of their parents.
    """
    levels = batch_size * np.cumprod([1, *fanouts])
    n = int(levels.sum())
    parents = np.arange(n - int(levels[-1]), dtype=np.int32)
    children_of = np.repeat(np.asarray(fanouts, np.int64), levels[:-1])
    return np.arange(batch_size, n, dtype=np.int32), np.repeat(parents, children_of)


def tree_sizes(batch_size: int, fanouts: Sequence[int]) -> tuple[int, int]:
    """Return the numbers of nodes and edges of the trees of `tree_edges`."""
    n = sum(batch_size * math.prod(fanouts[:level]) for level in range(len(fanouts) + 1))
    return n, n - batch_size


def distinct_places(counts: tf.Tensor, size: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sample `size` distinct integers from `range(count)` for each of the counts `(rows,)`.

    This is Floyd's algorithm, vectorized over rows: the j-th number is drawn from
    `range(count - size + j + 1)`, and replaced by the largest of that range if it is already taken.
    If a count is at most `size`, all integers are returned.

    Returns:
        int32 `(rows, size)`, and booleans of the same shape that are `False` for padding.

    Reference:
        - [Bentley & Floyd, A sample of brilliance, 1987](https://doi.org/10.1145/30401.315746)
    """
    import tensorflow as tf

    # float32 has too few bits for large counts
    uniform = tf.random.stateless_uniform([tf.size(counts), size], seed, dtype=tf.float64)
    order = tf.range(size)
    chosen: list[tf.Tensor] = []
    for j in range(size):
        last = tf.maximum(counts - size + j, 0)
        drawn = tf.cast(uniform[:, j] * tf.cast(last + 1, tf.float64), tf.int32)
        drawn = tf.minimum(drawn, last)
        is_taken = tf.zeros_like(drawn, tf.bool)
        for place in chosen:
            is_taken |= place == drawn
        chosen.append(tf.where(is_taken, last, drawn))
    few = counts[:, None] <= size
    places = tf.where(few, order, tf.stack(chosen, axis=1))
    exist = ~few | (order < counts[:, None])
    return tf.where(exist, places, 0), exist
