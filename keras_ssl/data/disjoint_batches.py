"""`disjoint_batches`: graphs as unions of a few."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl.data.autotuning import without_autotuning
from keras_ssl.data.graph_store import GraphStore

if TYPE_CHECKING:
    import tensorflow as tf

NO_GRAPH = -1


def disjoint_batches(
    graphs: Iterable[Any],
    batch_size: int,
    adjacency: str = "sparse",
    static_shapes: bool = False,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch graphs as disjoint unions: disjoint mode.

    With `static_shapes` every batch has the same shapes, as XLA and TPUs want it: as many nodes
    and edges as the `batch_size` largest graphs have. Nodes that fill up are zeros and belong to
    no graph: their `i` is -1, which poolings leave out; these need `graphs=batch_size`, so that
    their own shapes are the same too. Edges that fill up have weight 0. A last batch of fewer
    graphs is filled up with graphs without nodes, of weight 0.

    Args:
        graphs: graphs of any kind that `graphs.as_graph` takes, with features and one label each;
            a Spektral `Dataset` too.
        batch_size: graphs a batch.
        adjacency: `"sparse"` (`tf.SparseTensor`) or `"edges"` (an edge list).
        static_shapes: whether all batches have the same shapes. Needs `adjacency="edges"`.
        shuffle: whether to shuffle the graphs before each epoch.
        seed: of the shuffling.
        drop_remainder: whether to leave out a last batch of fewer graphs.

    Returns:
        `tf.data.Dataset` of `((x, a, i), y)`, with edge features `((x, a, e, i), y)`, without
        labels `((x, a, i),)`; `i` is int32. With `static_shapes` and labels a `sample_weight` of
        shape `(batch_size,)` follows: 0 for graphs that fill up, and scaled so that Keras' mean is
        that over the others.

    Raises:
        TypeError: if `graphs` is one graph, or a number no integer.
        ValueError: if there is no graph, one has no nodes or no features, they do not fit each
            other, or an argument is not one of these.

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
            "`static_shapes` needs `adjacency='edges'`: how many entries a sparse tensor has is "
            "not part of its shape. Received: adjacency='sparse'"
        )
    store = GraphStore(graphs)
    numbers = store.batches(batch_size, shuffle, seed, drop_remainder)
    batch_size = int(batch_size)
    node_places = int(np.sort(store.node_counts)[-batch_size:].sum())
    edge_places = int(np.sort(store.edge_counts)[-batch_size:].sum())

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
        return _element(batch.x, a, batch.e, batch.i, batch.y)

    def filled(inputs: tuple, y: tf.Tensor | None = None) -> tuple:
        x, a, *e, i = inputs
        a = {name: _fill(part, edge_places) for name, part in a.items()}
        e = [_fill(part, edge_places) for part in e]
        inputs = (_fill(x, node_places), a, *e, _fill(i, node_places, NO_GRAPH))
        if y is None:
            return (inputs,)
        count = tf.shape(y)[0]
        scale = tf.cast(batch_size / count, tf.float32)
        return inputs, _fill(y, batch_size), _fill(tf.fill([count], scale), batch_size)

    batches = numbers.map(union, num_parallel_calls=tf.data.AUTOTUNE)
    if static_shapes:
        batches = batches.map(filled, num_parallel_calls=tf.data.AUTOTUNE)
    return without_autotuning(batches.prefetch(tf.data.AUTOTUNE))


def _element(x: Any, a: Any, e: Any, i: Any, y: Any) -> tuple:
    inputs = (x, a, i) if e is None else (x, a, e, i)
    return (inputs,) if y is None else (inputs, y)


def _fill(values: tf.Tensor, length: int, value: int = 0) -> tf.Tensor:
    """Append rows up to a length."""
    import tensorflow as tf

    rows = [[0, length - tf.shape(values)[0]]] + [[0, 0]] * (len(values.shape) - 1)
    filled = tf.pad(values, rows, constant_values=tf.cast(value, values.dtype))
    return tf.ensure_shape(filled, [length, *values.shape[1:]])
