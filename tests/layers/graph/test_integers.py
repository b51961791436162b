"""Integer features and adjacencies."""

import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers import graph as layers
from tests.layers.graph.conformance import tensors

MAKE = {
    "sum": lambda: layers.MessagePassing(),
    "mean": lambda: layers.MessagePassing("mean"),
    "std": lambda: layers.MessagePassing("std"),
    "GCN": lambda: layers.GCNConv(4, normalize=True),
    "Chebyshev": lambda: layers.ChebConv(4, normalize=True),
    "GAT": lambda: layers.GATConv(4),
    "GATv2": lambda: layers.GATv2Conv(4),
    "GIN": lambda: layers.GINConv(keras.layers.Dense(4)),
    "GraphSAGE": lambda: layers.GraphSAGEConv(4),
    "gated": lambda: layers.GatedGraphConv(4),
    "in turn": lambda: layers.GraphSequential([layers.GCNConv(4), layers.MessagePassing()]),
}


@pytest.mark.parametrize("name", MAKE)
def test_integers_are_cast_to_floats(name, rng):
    x = rng.integers(0, 4, size=(6, 3))
    a = np.triu(rng.integers(0, 3, size=(6, 6)), 1)
    a = a + a.T
    half = 0.5 * a.astype("float32")  # would be 0 as an integer
    layer = MAKE[name]()
    for matrix in (half, a):
        expected = layer([x.astype("float32"), matrix.astype("float32")])
        forms = {
            "dense": matrix,
            "sparse": graphs.sparse_tensor(matrix),
            "list": graphs.edge_list(matrix),
        }
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            forms["sparse, as it is"] = tf.sparse.from_dense(matrix)
        for form, given in forms.items():
            out = layer(tensors([x, given]))
            np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5, err_msg=form)


def test_sparse_features_of_integers():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("KerasTensor of sparse features is TensorFlow's")
    import tensorflow as tf

    x = np.eye(4, 3, dtype="int64")
    layer = layers.GCNConv(2, normalize=True)
    expected = layer([x.astype("float32"), np.ones((4, 4), "float32")])
    out = layer([tf.sparse.from_dense(x), tf.ones((4, 4))])
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_top_k_pooling_of_integers_has_a_floating_gate(rng):
    """tanh of the score would be 0 as an integer."""
    x, a = rng.integers(1, 4, size=(6, 3)), np.ones((6, 6), "float32")
    layer = layers.TopKPool()
    expected = layer([x.astype("float32"), a])[0]
    out = layer([x, a])[0]
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert np.any(np.asarray(out))


def test_integer_edge_features_are_not_taken_for_graph_indices(rng):
    a = graphs.edge_list(np.ones((4, 4)))
    x, kinds = np.ones((4, 2), "float32"), rng.integers(0, 2, size=(16, 3))
    network = layers.GraphSequential([layers.EdgesToNodes()])
    out = network([x, a, kinds])
    np.testing.assert_array_equal(out, kinds.reshape(4, 4, 3).sum(1))
    pooled = layers.GraphSequential([layers.EdgesToNodes(), layers.SumPool()])
    out = pooled([x, a, kinds, np.array([0, 0, 1, 1])])
    np.testing.assert_array_equal(out, kinds.reshape(2, 8, 3).sum(1))
