"""`padded_batches`: graphs as dense arrays of one size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl.checks import integer
from keras_ssl.data.autotuning import without_autotuning
from keras_ssl.data.graph_store import GraphStore

if TYPE_CHECKING:
    import tensorflow as tf


def padded_batches(
    graphs: Iterable[Any],
    batch_size: int,
    nodes: int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batch graphs as dense arrays, each graph filled up with zeros: batch mode.

    Memory of a batch grows with the square of the largest graph: for graphs of very different
    sizes `disjoint_batches` is the better form.

    Args:
        graphs: graphs of any kind that `graphs.as_graph` takes, with features and one label each;
            a Spektral `Dataset` too.
        batch_size: graphs a batch.
        nodes: number of nodes to fill up to, or `None` for that of the largest graph.
        shuffle: whether to shuffle the graphs before each epoch.
        seed: of the shuffling.
        drop_remainder: whether to leave out a last batch of fewer graphs.

    Returns:
        `tf.data.Dataset` of `((x, a, mask), y)`: `x` of shape `(batch, nodes, features)`, `a` of
        shape `(batch, nodes, nodes)`, `mask` of shape `(batch, nodes)`, true where there is a node.
        With edge features `((x, a, e, mask), y)`, `e` of shape `(batch, nodes, nodes, features)`;
        without labels `((x, a, mask),)`.

    Raises:
        TypeError: if `graphs` is one graph, or a number no integer.
        ValueError: if there is no graph, one has no nodes, no features, or more than `nodes`
            nodes, or they do not fit each other.

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

    store = GraphStore(graphs)
    largest = int(np.max(store.node_counts))
    places = largest if nodes is None else integer("nodes", nodes)
    if places < largest:
        raise ValueError(
            f"`nodes` must be at least the nodes of the largest graph, {largest}. Received: "
            f"nodes={nodes}"
        )
    numbers = store.batches(batch_size, shuffle, seed, drop_remainder)

    def pad(some: tf.Tensor) -> tuple:
        batch = store.gather(some)
        count = some.shape[0]  # None where the last batch may be smaller
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
        return (inputs,) if batch.y is None else (inputs, batch.y)

    batches = numbers.map(pad, num_parallel_calls=tf.data.AUTOTUNE)
    return without_autotuning(batches.prefetch(tf.data.AUTOTUNE))
