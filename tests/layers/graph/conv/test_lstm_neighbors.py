import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers.graph import LSTMNeighbors
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors


class TestConformance(GraphLayerTest):
    def test_more_neighbors_than_are_read(self):
        self.check(LSTMNeighbors, weights=3, outputs=4, units=4, max_neighbors=2)

    def test_fewer_nodes_than_are_read(self):
        self.check(LSTMNeighbors, weights=3, outputs=4, units=4, max_neighbors=7)


@pytest.fixture
def a(rng):
    """Node 2 has no neighbors, node 5 has itself."""
    a = (rng.uniform(size=(7, 7)) < 0.4).astype("float32")
    a[2] = 0
    a[5, 5] = 1
    a[6] = 1
    return a


@pytest.mark.parametrize("max_neighbors", [1, 3, 7, 9])
def test_equals_the_keras_lstm_over_the_neighbors_of_each_node(a, rng, max_neighbors):
    x = rng.normal(size=(7, 3)).astype("float32")
    layer = LSTMNeighbors(4, max_neighbors)
    layer.build([x.shape, a.shape])
    out = assert_forms_agree(layer, x, a)
    for node in range(7):
        read = np.flatnonzero(a[node])[:max_neighbors]
        expected = layer.lstm(x[read][None])[0] if len(read) else np.zeros(4)
        np.testing.assert_allclose(out[node], expected, rtol=1e-5, atol=1e-6)


def test_reads_in_the_order_of_the_list(rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    layer = LSTMNeighbors(5, max_neighbors=3)
    # padding in between, and edges to other nodes
    edges = {
        "senders": np.array([3, 0, 1, 2, 2, 0]),
        "receivers": np.array([1, 0, 1, 3, 1, 1]),
        "weights": np.array([2.0, 0.0, 1.0, 1.0, 1.0, 0.0], "float32"),
    }
    out = layer([x, edges])
    np.testing.assert_allclose(out[1], layer.lstm(x[[3, 1, 2]][None])[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out[3], layer.lstm(x[[2]][None])[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(out)[[0, 2]], 0)


def test_many_edges_keep_their_order(rng):
    """Sorting by receiver must be stable, also beyond what a small sort hides."""
    nodes, count = 50, 2000
    x = rng.normal(size=(nodes, 2)).astype("float32")
    edges = {
        "senders": rng.integers(nodes, size=count).astype("int32"),
        "receivers": rng.integers(nodes, size=count).astype("int32"),
    }
    layer = LSTMNeighbors(3, max_neighbors=60)
    out = layer([x, edges])
    for node in (0, 17, 49):
        read = edges["senders"][edges["receivers"] == node][:60]
        np.testing.assert_allclose(out[node], layer.lstm(x[read][None])[0], rtol=1e-4, atol=1e-5)


def test_batch_mode_equals_single_mode_per_graph(a, rng):
    x = rng.normal(size=(2, 7, 3)).astype("float32")
    layer = LSTMNeighbors(4, max_neighbors=5)
    out = layer([x, np.stack([a, a.T])])
    for one, features, matrix in zip(out, x, (a, a.T), strict=True):
        np.testing.assert_allclose(one, layer([features, matrix]), rtol=1e-5, atol=1e-6)


def test_half_precision_is_finite(a, rng):
    x = 100 * rng.normal(size=(7, 3)).astype("float32")
    layer = LSTMNeighbors(4, max_neighbors=5, dtype="mixed_float16")
    for form in forms(a).values():
        assert np.isfinite(np.asarray(layer(tensors([x, form])))).all()


def test_compiles_with_padded_lists_and_its_gradient(a, rng):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA by tf.function")
    import tensorflow as tf

    x = tf.constant(rng.normal(size=(7, 3)).astype("float32"))
    layer = LSTMNeighbors(4, max_neighbors=5)
    layer.build([x.shape, a.shape])

    def step(x, edges):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer([x, edges]) ** 2)
        return loss, tape.gradient(loss, layer.lstm.trainable_variables[0].value)

    edges = graphs.edge_list(a, pad_to=40)
    for one, other in zip(
        step(x, edges), tf.function(step, jit_compile=True)(x, edges), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"`units` must be a positive integer"):
        LSTMNeighbors(0, 3)
    with pytest.raises(TypeError, match=r"`max_neighbors`.*None"):
        LSTMNeighbors(4, None)
