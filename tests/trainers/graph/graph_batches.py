"""A few graphs, converted to each mode."""

import numpy as np
import tensorflow as tf

from keras_ssl import graphs


def few_graphs(sizes=(5, 3, 6), features=4, seed=0):
    """Return undirected random graphs of these sizes."""
    rng = np.random.default_rng(seed)
    found = []
    for nodes in sizes:
        half = np.triu(rng.random((nodes, nodes)) < 0.6, 1)
        x = rng.normal(size=(nodes, features))
        found.append(graphs.Graph(x, (half | half.T).astype("float32")))
    return found


def padded(some, nodes=8, filler=7.0):
    """Return `(x, a, mask)`; padded nodes hold `filler`, which no method may read."""
    x = np.full((len(some), nodes, some[0].x.shape[1]), filler, "float32")
    a = np.zeros((len(some), nodes, nodes), "float32")
    mask = np.zeros((len(some), nodes), bool)
    for number, graph in enumerate(some):
        size = graph.nodes
        x[number, :size], a[number, :size, :size] = graph.x, graph.a.toarray()
        mask[number, :size] = True
    return tf.constant(x), tf.constant(a), tf.constant(mask)


def disjoint(some):
    """Return `(x, a, i)` with a sparse adjacency."""
    union, i = graphs.disjoint_union(some)
    return tf.constant(union.x), graphs.sparse_tensor(union.a), tf.constant(i)


def padded_disjoint(some, nodes=20, edges=60):
    """Return `(x, a, i)` with an edge list, padded to fixed shapes."""
    union, i = graphs.disjoint_union(some)
    missing = nodes - union.nodes
    x = np.pad(union.x, ((0, missing), (0, 0)), constant_values=7.0)
    a = graphs.edge_list(union.a, pad_to=edges)
    i = np.pad(i, (0, missing), constant_values=len(some))
    return tf.constant(x), {name: tf.constant(part) for name, part in a.items()}, tf.constant(i)


def singles(some):
    """Return each graph as `(x, a)`."""
    return [(tf.constant(graph.x), tf.constant(graph.a.toarray())) for graph in some]
